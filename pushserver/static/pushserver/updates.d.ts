/** Undoes the call that returned it; calling it twice does no harm. */
export type Undo = () => void;

/** A channel that is not just its URL. */
export interface Channel {
    /** Where to ask; a falsy one is skipped. */
    url: string | URL | null | undefined | false;
    /**
     * The id, `"<time>:<tag>"` as in channel info, of the last message that the page has,
     * so that it hears what came after. Without it a page starts with the oldest message
     * that is kept. To start from now, give the second before the page was rendered, by
     * the server's clock: `"1795350764:0"`.
     */
    after?: string | null;
    /**
     * `"include"` (the default) sends cookies to other origins, too. Use `"same-origin"`
     * with a push server whose `allow_origin` is `*`, which browsers do not let have both.
     */
    credentials?: RequestCredentials;
}

export interface Message {
    /** The name under which the page subscribed. */
    name: string;
    /** `"<time>:<tag>"`. */
    id: string;
    /** What the publisher said, null if it said nothing. */
    contentType: string | null;
    /** Decoded JSON; of a message that is no JSON its text. */
    data: unknown;
    /** The body, read in the charset of its content type or, without one, as UTF-8. */
    text: string;
    bytes: Uint8Array;
}

/**
 * - `connecting`: asking, and not sure yet whether anybody listens there.
 * - `live`: the server answers, or holds the request since more than a second.
 * - `waiting`: something failed; the detail says what, and when it is tried again.
 * - `gone`: the channel was deleted (410, with a sentence) and the subscription has ended.
 */
export type State = "connecting" | "live" | "waiting" | "gone";

export interface StateDetail {
    /** The status of the answer, if there was one. */
    status?: number;
    /** What the server or the browser said of it. */
    reason?: string;
    /** Milliseconds until the next try. */
    retryIn?: number;
}

/** A request, told when it is made and, with what was answered, when it ends. */
export interface Exchange {
    name: string;
    url: string;
    /** The headers that were set; the browser adds its own. */
    request: Record<string, string>;
    status?: number;
    statusText?: string;
    /** The headers that the browser lets the page see, with names in lower case. */
    response?: Record<string, string>;
    /** The body. */
    text?: string;
}

export interface Updates {
    /**
     * Listens to channels, by name. A channel whose URL is falsy is skipped, and so is a
     * name that is subscribed already. Asking starts when the document is parsed, so that
     * processors registered by its scripts miss nothing, and not before a page that was
     * prerendered is shown.
     */
    subscribe(
        channels: Record<string, Channel | Channel["url"]> | null | undefined,
    ): Undo;

    /** Stops listening to a channel. The undo goes on after the last message given. */
    unsubscribe(name: string): Undo;

    /** Stops listening to all channels. The undo goes on with them. */
    close(): Undo;

    /**
     * Calls a function with the data of each message that is JSON and has this `type`.
     * Processors and the functions of `on` are called in the order in which they were
     * registered, be that before subscribing or after; they outlast a subscription.
     */
    registerProcessor<Data = any>(
        name: string,
        type: string | number,
        processor: (data: Data) => void,
    ): Undo;

    /** Calls a function with each message, JSON or not. */
    on(name: string, listener: (message: Message) => void): Undo;

    /**
     * Calls a function when messages were lost, before it is given the next one. `missed`
     * is the id of the newest one lost, as far as that is known.
     */
    onGap(name: string, listener: (missed: string, name: string) => void): Undo;

    /** Calls a function with the state of each subscription, now and when it changes. */
    onState(
        listener: (state: State, name: string, detail: StateDetail) => void,
    ): Undo;

    /** Calls a function with each request made, to show or to debug the protocol. */
    onExchange(listener: (exchange: Exchange) => void): Undo;
}

/**
 * For bundlers, which can tell that this is exported. A browser that imports the file
 * itself finds `window.updates`; or it imports this name from `updates.module.js`.
 */
export declare const updates: Updates;

declare global {
    // `var`, because only that declares a property of window.
    var updates: Updates;

    interface JQueryStatic {
        updates: Updates;
    }
}
