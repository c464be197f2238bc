/*! updates.eventsource.js of django-pushserver, BSD-3-Clause
 *
 *     htmx.createEventSource = (url) => updates.eventSource(url);
 *     Turbo.connectStreamSource(updates.eventSource("/updates/news"));
 *
 * Adds updates.eventSource(url), which returns an object like an EventSource. Its
 * messages arrive on the connection of the page's other channels. It reconnects after any
 * error, and is resumed after its last message.
 *
 * A classic script that also runs as a module, after updates.streams.js.
 */
(function () {
    "use strict";

    const CONNECTING = 0;
    const OPEN = 1;
    const CLOSED = 2;

    const STREAMS = Symbol.for("updates.streams.js");

    // Names are used again: updates.js remembers each that there was.
    const unused = [];
    let count = 0; // Of the names that were given.

    /** Return the data of a message, as server-sent events have it. */
    function readData({ contentType, bytes }, mayBeText) {
        if (mayBeText(contentType)) {
            try {
                const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
                return text.replace(/\r\n?/g, "\n");
            } catch {
                // It is no UTF-8.
            }
        }
        // In pieces: the number of arguments is limited.
        const pieces = [];
        for (let start = 0; start < bytes.length; start += 0x8000) {
            pieces.push(String.fromCharCode(...bytes.subarray(start, start + 0x8000)));
        }
        const base64 = btoa(pieces.join(""));
        return `data:${contentType ?? "application/octet-stream"};base64,${base64}`;
    }

    /** Return the id in a query, which is left out of the URL. */
    function takePosition(url) {
        const names = ["last_event_id", "lastEventId"];
        const [value] = names.map((name) => url.searchParams.get(name)).filter(Boolean);
        names.forEach((name) => url.searchParams.delete(name));
        return value ?? null;
    }

    /** Return the URLs of the channels in a URL of several ones. */
    function splitUrl(url, separator) {
        const segments = url.pathname.split("/");
        const index = segments.findIndex((segment) => segment.includes(separator));
        if (index < 0) {
            return [url.href];
        }
        return segments[index].split(separator).map((channel) => {
            const one = new URL(url.href);
            one.pathname = Object.assign([...segments], { [index]: channel }).join("/");
            return one.href;
        });
    }

    /** Return the id of each channel in a position, null for those that have none. */
    function splitPosition(position, length) {
        const ids = position === null ? [] : position.split(",");
        if (position !== null && ids.length !== length) {
            throw new TypeError(`The position ${position} is not of ${length} channels.`);
        }
        return Array.from({ length }, (_, index) => {
            const id = (ids[index] ?? "-").replace(/^\[|\]$/g, "");
            if (id === "-" || id === "oldest") {
                return null;
            }
            if (!/^\d+:\d+$/.test(id)) {
                throw new TypeError(`An id is <time>:<tag>, not ${JSON.stringify(id)}`);
            }
            return id;
        });
    }

    /** Return the `share` of the channels that {% push_channels %} has written. */
    function findShare() {
        const tag = globalThis.document?.querySelector("script[data-push-channels]");
        const channels = tag ? Object.values(JSON.parse(tag.textContent)) : [];
        return channels[0]?.share ?? null;
    }

    class UpdatesEventSource extends EventTarget {
        constructor(updates, address, options) {
            super();
            this._undo = [];
            this._states = new Map(); // By the name of the channel.
            this._handlers = new Map(); // By the type of the event.
            const { withCredentials = false, separator = ",", ...rest } = options;
            const page = globalThis.document?.baseURI ?? "http://localhost/";
            const full = new URL(address, page);
            this.url = full.href;
            this.withCredentials = Boolean(withCredentials);
            this.readyState = CONNECTING;
            const position = rest.after ?? takePosition(full);
            const urls = [...new Set(splitUrl(full, separator))];
            const ids = splitPosition(position, urls.length);
            // Those of the page's own origin are sent anyway, and differing channels would
            // have connections of their own.
            const isOwn = full.origin === new URL(page).origin;
            const credentials = withCredentials || isOwn ? "include" : "same-origin";
            const share = rest.share ?? findShare();
            const channels = {};
            urls.forEach((url, index) => {
                const name = unused.pop() ?? `eventSource ${(count += 1)}`;
                channels[name] = { ...rest, url, credentials, share, after: ids[index] };
                this._states.set(name, "connecting");
                this._undo.push(
                    updates.on(name, (message) => this._receive(updates, message)),
                    updates.onGap(name, (missed) =>
                        this._dispatch("push-gap", JSON.stringify({ missed })),
                    ),
                );
            });
            const change = (state, name) => this._change(state, name);
            this._undo.push(updates.onState(change), updates.subscribe(channels));
        }

        _receive(updates, message) {
            const data = readData(message, updates[STREAMS].mayBeText);
            this._dispatch(message.event ?? "message", data, message.id);
        }

        _dispatch(type, data, lastEventId = "") {
            if (this.readyState !== CLOSED) {
                const { origin } = new URL(this.url);
                this.dispatchEvent(new MessageEvent(type, { data, lastEventId, origin }));
            }
        }

        _change(state, name) {
            if (!this._states.has(name) || this.readyState === CLOSED) {
                return;
            }
            this._states.set(name, state);
            const states = [...this._states.values()].filter((each) => each !== "gone");
            if (states.length === 0) {
                this.close();
                this.dispatchEvent(new Event("error"));
            } else if (state === "waiting") {
                this.readyState = CONNECTING;
                this.dispatchEvent(new Event("error"));
            } else if (
                this.readyState === CONNECTING &&
                states.every((each) => each === "live")
            ) {
                this.readyState = OPEN;
                this.dispatchEvent(new Event("open"));
            }
        }

        close() {
            this.readyState = CLOSED;
            this._undo.splice(0).forEach((undo) => undo());
            unused.push(...this._states.keys());
            this._states.clear();
        }
    }

    const constants = { CONNECTING, OPEN, CLOSED };
    for (const target of [UpdatesEventSource, UpdatesEventSource.prototype]) {
        Object.assign(target, constants);
    }
    for (const type of ["open", "message", "error"]) {
        Object.defineProperty(UpdatesEventSource.prototype, `on${type}`, {
            get() {
                return this._handlers.get(type) ?? null;
            },
            set(fn) {
                if (!this._handlers.has(type)) {
                    this.addEventListener(type, (event) =>
                        this._handlers.get(type)?.call(this, event),
                    );
                }
                // Another function is called in the place of the first one.
                this._handlers.set(type, typeof fn === "function" ? fn : null);
            },
        });
    }

    /** Add `eventSource` to an `updates`. */
    function attach(updates) {
        updates.eventSource ??= (url, options = {}) =>
            new UpdatesEventSource(updates, url, options);
    }

    if (typeof globalThis.updates?.[STREAMS] === "function") {
        attach(globalThis.updates);
    } else {
        console.error("updates.eventsource.js needs updates.streams.js before it.");
    }

    // For tests.
    if (typeof module === "object" && module.exports) {
        module.exports = { attach };
    }
})();
