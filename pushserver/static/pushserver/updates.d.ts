/** Undoes the call that returned it. Calling it again does nothing. */
export type Undo = () => void;

/** A channel with options besides its URL. */
export interface Channel {
    /** The subscriber URL. If it is falsy, the channel is skipped. */
    url: string | URL | null | undefined | false;
    /**
     * The id, `"<time>:<tag>"` as in channel info, of the last message that the page has.
     * The page gets the messages after it. Without it a page starts with the oldest
     * message that is kept. To start from now, give what `pushserver.updates.position`
     * returned before the page's data were read.
     */
    after?: string | null;
    /**
     * `"include"` sends cookies to other origins, too. Use `"same-origin"` with a push
     * server whose `allow_origin` is `*`, because browsers do not allow both. Defaults to
     * `"include"`.
     */
    credentials?: RequestCredentials;
    /**
     * How messages are received, if the page has `updates.streams.js`: on a `"stream"`
     * that all channels of a location share, in a `"batch"` of all of them at a time, or
     * by a `"poll"` for each message. If one does not work, the next one is used for a
     * while. Defaults to `"stream"`, and without that file it is always `"poll"`. With
     * `updates.websocket.js` it can be a `"websocket"`, after which a stream comes; that
     * sends cookies whatever `credentials` says.
     */
    transport?: Transport;
    /**
     * The location of the URL, as in the header `Push-Location`, for
     * `updates.streams.js`. Without it one more request finds it.
     */
    location?: string | null;
    /**
     * Whether messages may be missing before `after`. The functions of `onGap` are then
     * called before the first message.
     */
    missed?: boolean;
    /**
     * With `updates.tabs.js`, tabs of a browser use one connection for their channels that
     * have the same `share`. Give a text that is another one for each user, and is no
     * secret; `{% push_channels %}` gives a digest. Without it the channel is not shared.
     */
    share?: string | null;
    /**
     * Where `updates.tokens.js` gets new signed URLs, before the token in `url` expires
     * and when it is refused. Channels with the same one are asked for together.
     */
    tokenUrl?: TokenUrl | null;
    /**
     * The channel id, by which `tokenUrl` is asked. Without it, it is the only channel in
     * the token, or otherwise the last part of the path of `url`.
     */
    channel?: string | null;
}

/**
 * A URL of the page's own origin, which is sent `?channel=a&channel=b` with cookies and
 * answers JSON: an object with the new URL of each channel. Or a function that returns
 * such an object, or a promise of it. A channel that is left out is gone, and all are if
 * the URL answers 401 or 403, or redirects to a page. The URL is asked again later if it
 * fails in another way, and the function if it throws.
 */
export type TokenUrl =
    | string
    | URL
    | ((channels: string[]) => Record<string, string> | Promise<Record<string, string>>);

export type Transport = "websocket" | "stream" | "batch" | "poll";

export interface Message {
    /** The name under which the page subscribed. */
    name: string;
    /** `"<time>:<tag>"`. */
    id: string;
    /** The publisher's Content-Type, null if there is none. */
    contentType: string | null;
    /** The name of the event that the publisher gave, null if none. Polls do not have it. */
    event: string | null;
    /** The page that is not to hear of it: its `clientId`, null if none. */
    exclude: string | null;
    /** Decoded JSON, or the text of a message that is not JSON. */
    data: unknown;
    /** The body, read in the charset of its content type or, without one, as UTF-8. */
    text: string;
    bytes: Uint8Array;
}

/**
 * - `connecting`: a request was sent, and it is not known yet whether a server answers.
 * - `live`: the server answers, or has held the request for more than a second.
 *   It is told again when the transport changes.
 * - `waiting`: a request failed; the detail says why, and when the next one is sent.
 * - `gone`: the subscription has ended: the channel was deleted (410, with a sentence) or,
 *   with `tokenUrl`, the user may not listen to it any more (403).
 */
export type State = "connecting" | "live" | "waiting" | "gone";

export interface StateDetail {
    /** The status of the answer, if there was one. */
    status?: number;
    /** The reason that the server or the browser gave. */
    reason?: string;
    /** Milliseconds until the next request. */
    retryIn?: number;
    /** The transport, if the page has `updates.streams.js`. */
    transport?: Transport;
    /** Whether the tab shares the connection of all tabs, if it has `updates.tabs.js`. */
    shared?: boolean;
}

/**
 * A request, reported when it is sent and, with the answer, when it ends. That of a stream
 * or batch is reported when the answer begins, without its text. If tabs share a
 * connection, it is reported in the tab that has it.
 */
export interface Exchange {
    /** The name of the channel; of several channels, that of the first one. */
    name: string;
    url: string;
    /** The headers that were set; the browser adds its own. */
    request: Record<string, string>;
    status?: number;
    statusText?: string;
    /** The headers that the browser lets the page read, with names in lower case. */
    response?: Record<string, string>;
    /** The body. */
    text?: string;
}

export interface PresenceOptions {
    /**
     * Called with all who are there: at first, and again when the page could not follow
     * the changes, after those that it missed were told to `onJoin` and `onLeave`.
     */
    onSync?: (state: PresenceState) => void;
    /**
     * Called when a member comes, with `isNew`, and without it when something else is told
     * about one who is there. `key` is the key of the user, and `info` what the site tells
     * about it, null if nothing. Not called for those who are there at first.
     */
    onJoin?: (key: string, info: any, isNew: boolean) => void;
    /** Called when a member leaves. */
    onLeave?: (key: string, info: any) => void;
    /** Called with the number of all who are there, at first and when it changes. */
    onCount?: (count: number) => void;
    /**
     * The URL of the channel `presence:<channel id>`. Only needed if the channel id is not
     * the last part of the path of the channel's URL, and the page does not know its
     * `location` either.
     */
    url?: string | URL;
}

export interface PresenceState {
    /**
     * What the site tells about each member, by the key of the user. A copy, which the page
     * may change. It is empty while there are more members than `presence_limit`.
     */
    members: Map<string, any>;
    /** The number of anonymous visitors. */
    others: number;
    /** The number of all, also if there are too many to be named. */
    count: number;
}

export interface EventSourceOptions
    extends Pick<Channel, "after" | "share" | "transport" | "location" | "tokenUrl"> {
    /** Whether cookies are sent to another origin. Defaults to false. */
    withCredentials?: boolean;
    /** The character between the channels of a URL. Defaults to `","`. */
    separator?: string;
}

/** An object with the properties, methods and events of an `EventSource`. */
export interface UpdatesEventSource extends EventTarget {
    readonly CONNECTING: 0;
    readonly OPEN: 1;
    readonly CLOSED: 2;
    readonly url: string;
    readonly withCredentials: boolean;
    readonly readyState: 0 | 1 | 2;
    onopen: ((event: Event) => void) | null;
    onmessage: ((event: MessageEvent) => void) | null;
    onerror: ((event: Event) => void) | null;
    close(): void;
}

export interface Updates {
    /**
     * The id of this page. Sent to the site in the header `Push-Client`, it lets a view
     * publish an update of which this page does not hear.
     */
    readonly clientId: string;

    /**
     * Subscribes to channels, by name. A channel whose URL is falsy is skipped, and so is
     * a name that is subscribed already. The first request is sent when the document has
     * been parsed, so that processors registered by its scripts miss no message, and when
     * a page that was prerendered is shown.
     */
    subscribe(
        channels: Record<string, Channel | Channel["url"]> | null | undefined,
    ): Undo;

    /** Ends a subscription. The undo continues it after the last message. */
    unsubscribe(name: string): Undo;

    /** Ends all subscriptions. The undo continues them. */
    close(): Undo;

    /**
     * Calls a function with the data of each message that is JSON and has this `type`.
     * Processors and the functions of `on` are called in the order in which they were
     * registered, before or after subscribing. They remain when a subscription ends.
     */
    registerProcessor<Data = any>(
        name: string,
        type: string | number,
        processor: (data: Data) => void,
    ): Undo;

    /** Calls a function with each message, JSON or not. */
    on(name: string, listener: (message: Message) => void): Undo;

    /**
     * Calls a function when messages were lost, before the next message is delivered.
     * `missed` is the id of the newest lost message, as far as it is known.
     */
    onGap(name: string, listener: (missed: string, name: string) => void): Undo;

    /** Calls a function with the state of each subscription, now and when it changes. */
    onState(
        listener: (state: State, name: string, detail: StateDetail) => void,
    ): Undo;

    /**
     * Returns an object like an `EventSource`, if the page has `updates.eventsource.js`.
     * Its messages arrive on the connection of the page's other channels.
     */
    eventSource(url: string | URL, options?: EventSourceOptions): UpdatesEventSource;

    /**
     * Tells who is on a channel, if the page has `updates.presence.js` and the location
     * has `presence`. `name` is that of the channel itself, which is subscribed to already
     * or later; the page is told as long as it is subscribed to. Its state is told to
     * `onState` under the name `presence:<name>`. With no functions, the server is only
     * told when the page is hidden.
     */
    presence(name: string, options?: PresenceOptions): Undo;

    /** Calls a function with each request, to show or to debug the protocol. */
    onExchange(listener: (exchange: Exchange) => void): Undo;
}

/**
 * For bundlers, which recognize this export. A page that imports this file in a browser
 * uses `window.updates`, or imports this name from `updates.module.js`.
 */
export declare const updates: Updates;

declare global {
    // Only `var` declares a property of window.
    var updates: Updates;

    interface JQueryStatic {
        updates: Updates;
    }
}
