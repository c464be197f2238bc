/*! updates.presence.js of django-pushserver, BSD-3-Clause
 *
 *     updates.presence("room", {onSync, onJoin, onLeave, onCount});
 *
 * Tells who is on a channel whose location has `presence`, and tells the server that the
 * page is hidden, so that its user stays on its channels.
 *
 * A classic script that also runs as a module, after updates.js and its other files.
 */
(function () {
    "use strict";

    /** What the id of a channel that tells about another one begins with. */
    const PREFIX = "presence:";
    /** Parameters of a URL that name a position. */
    const POSITIONS = ["last_event_id", "lastEventId"];

    /** The most milliseconds until a poll whose changes were lost asks for the state. */
    const RETURN = 1000;

    const STREAMS = Symbol.for("updates.streams.js");
    const ATTACHED = Symbol.for("updates.presence.js");

    const resolveUrl = (url) =>
        new URL(url, globalThis.document?.baseURI ?? "http://localhost/");

    const isHidden = () => globalThis.document?.hidden === true;

    /** Return a URL without tokens, which change. */
    function removeTokens(url) {
        const { href } = resolveUrl(url);
        const rest = new URL(href);
        rest.searchParams.delete("token");
        return rest.href;
    }

    function decode(part) {
        try {
            return decodeURIComponent(part);
        } catch {
            return part;
        }
    }

    /** Return the id that the token of a URL names, null if it does not name one. */
    function readTokenChannel(url) {
        try {
            const [text] = url.searchParams.get("token").split(":");
            const json = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
            const { c: channels } = JSON.parse(json);
            return channels.length === 1 ? channels[0] : null;
        } catch {
            return null;
        }
    }

    /** Return where a channel is in a path: its start and end. */
    function findChannel(url, { channel, location }) {
        const { pathname } = url;
        const told = /^(\/[^\s{]*)\{channels\}(\S*);/.exec(location ?? "");
        const root = told ? pathname.indexOf(told[1]) : -1;
        if (root >= 0 && pathname.endsWith(told[2])) {
            return [root + told[1].length, pathname.length - told[2].length];
        }
        const end = pathname.replace(/\/$/, "").length;
        // An id may have slashes.
        const id = channel ?? readTokenChannel(url);
        for (let start = 1; id && start > 0; start = pathname.indexOf("/", start) + 1) {
            if (decode(pathname.slice(start, end)) === String(id)) {
                return [start, end];
            }
        }
        return [pathname.lastIndexOf("/", end - 1) + 1, end];
    }

    /** Return whether a subscription is told who is on another channel. */
    function tellsPresence({ url: address, channel }) {
        const url = resolveUrl(address);
        const [start, end] = findChannel(url, channel);
        return decode(url.pathname.slice(start, end)).startsWith(PREFIX);
    }

    /**
     * Let a subscription receive a state again.
     *
     * It has the id of the last change, which is an earlier one if the store was emptied.
     */
    function forgetIds(subscription) {
        subscription.seen = new Set([subscription.position.text]);
    }

    /** Let a poll go to the state if its answer says so, because changes were lost. */
    function heedPosition(subscription, { parseId }) {
        if (heeding.has(subscription)) {
            return;
        }
        heeding.add(subscription);
        const { receiveNothing } = subscription;
        subscription.receiveNothing = (status, headers) => {
            const isFirst =
                subscription.position.text !== "0:0" &&
                Date.parse(headers.get("Last-Modified") ?? "") === 0 &&
                /^(?:W\/)?"?0"?$/.test(headers.get("Etag") ?? "");
            if (!isFirst) {
                return receiveNothing.call(subscription, status, headers);
            }
            subscription.position = parseId("0:0");
            subscription.succeed();
            return Math.random() * RETURN; // Others were told the same.
        };
    }

    /** Return the URL and the id of the channel that tells who is on a channel. */
    function findPresence(address, options) {
        const url = resolveUrl(address);
        const { pathname } = url;
        const [start, end] = findChannel(url, options);
        const part = pathname.slice(start, end);
        url.pathname = pathname.slice(0, start) + PREFIX + part + pathname.slice(end);
        POSITIONS.forEach((name) => url.searchParams.delete(name));
        return { url: url.href, id: PREFIX + (options.channel ?? decode(part)) };
    }

    /** Return whether two values of JSON are the same, in any order of their keys. */
    function isSame(one, other) {
        if (Object(one) !== one || Object(other) !== other) {
            return one === other;
        }
        const entries = Object.entries(one);
        const others = new Map(Object.entries(other));
        return (
            Array.isArray(one) === Array.isArray(other) &&
            entries.length === others.size &&
            entries.every(([key, each]) => others.has(key) && isSame(each, others.get(key)))
        );
    }

    // That the page is hidden

    const carried = new Set(); // Subscriptions that have a request, of all objects.
    const wanted = new Map(); // The last subscription, by its URL without tokens.
    const chosen = new Map(); // The URLs that the page gave, by that of the channel.
    const heeding = new WeakSet(); // Those whose polls may be sent to the state.
    const marked = new WeakSet(); // Subscriptions that were requested as hidden.

    /** Return whether somebody is told who is on the channel of a subscription. */
    function isWatched({ url, channel }) {
        try {
            const given = chosen.get(removeTokens(url));
            const presence = given ?? removeTokens(findPresence(url, channel).url);
            return wanted.get(presence)?.wanted === true;
        } catch {
            return false; // It is no URL.
        }
    }

    /**
     * Note that subscriptions are about to be requested.
     *
     * Return whether as hidden; null if nobody is told who is on their channels.
     */
    function mark(subscriptions) {
        const needed = subscriptions.some(isWatched);
        const hidden = isHidden();
        for (const each of subscriptions) {
            if (needed && hidden) {
                marked.add(each);
            } else {
                marked.delete(each);
            }
        }
        return needed ? hidden : null;
    }

    function addHidden(address) {
        const url = resolveUrl(address);
        url.searchParams.set("hidden", "1");
        return url.href;
    }

    /** Tell the server that the page is hidden, beside a poll or a stream. */
    function sendHidden({ url, credentials }) {
        const address = addHidden(url);
        if (!globalThis.navigator?.sendBeacon?.(address)) {
            const options = { method: "POST", keepalive: true, credentials };
            fetch(address, options).catch(() => {}); // The next request tells it.
        }
    }

    /** Return whether a subscription has a poll or a stream of this page. */
    const needsNotice = (subscription) =>
        !subscription.details.shared &&
        subscription.details.transport !== "websocket" &&
        isWatched(subscription);

    /** Send a poll, which tells whether the page is hidden. */
    function poll(subscription, signal) {
        const { url } = subscription;
        const hidden = mark([subscription]);
        try {
            subscription.url = hidden ? addHidden(url) : url;
            return subscription.ask(signal); // It reads the URL at once.
        } finally {
            subscription.url = url;
        }
    }

    /** Note that a subscription has a request, until that is aborted. */
    function note(subscription, signal, parts) {
        let key;
        try {
            key = removeTokens(subscription.url);
        } catch {
            return; // It is no URL, as the request will say.
        }
        if (tellsPresence(subscription)) {
            forgetIds(subscription);
            heedPosition(subscription, parts);
        }
        carried.add(subscription);
        wanted.set(key, subscription);
        signal.addEventListener("abort", () => {
            carried.delete(subscription);
            if (!subscription.wanted && wanted.get(key) === subscription) {
                wanted.delete(key);
            }
        });
    }

    function changeVisibility() {
        for (const subscription of [...carried]) {
            if (!needsNotice(subscription)) {
                continue;
            }
            if (isHidden()) {
                sendHidden(subscription);
            } else if (marked.has(subscription)) {
                // Requested again, after the last message, it is of a visible page.
                subscription.turn.abort();
            }
        }
    }

    /**
     * Tell the server when the page of an `updates` is hidden.
     *
     * `follow` is called with each subscription, before it is requested.
     */
    function tellHidden(updates, follow = () => {}) {
        updates.carryBy((parts, before) => (subscription, signal) => {
            follow(subscription, signal);
            note(subscription, signal, parts);
            const asking = before(subscription, signal) ?? poll(subscription, signal);
            return asking.then((delay) => {
                if (!signal.aborted) {
                    carried.delete(subscription);
                    // The next request may be a minute later.
                    const isTold = !isHidden() || marked.has(subscription);
                    if (!isTold && needsNotice(subscription)) {
                        sendHidden(subscription);
                    }
                }
                return delay;
            });
        });
    }

    // Who is on a channel

    /** Knows who is on the channel of a name, and tells the functions of the page. */
    class Presence {
        constructor(updates, name) {
            this.updates = updates;
            this.name = `${PREFIX}${name}`;
            this.listeners = new Set();
            this.url = null; // That the page gave.
            this.subject = null; // The subscription of the channel.
            this.key = null; // What was watched last.
            this.forget();
            this.undo = [updates.on(this.name, ({ data }) => this.receive(data))];
            this.channel = null; // The subscription that tells who is there.
        }

        forget() {
            this.isKnown = false;
            this.members = null; // Null while there are only numbers.
            this.named = 0;
            this.others = 0;
        }

        /** Watch the channel of a subscription, as long as it is subscribed to. */
        follow(subscription, signal) {
            signal.addEventListener("abort", () =>
                // Later: it may only be requested again, and so may a cached page's.
                setTimeout(() => subscription.wanted || this.leave(subscription)),
            );
            if (this.subject === subscription) {
                return;
            }
            const { url, credentials, channel } = subscription;
            let found;
            try {
                found = findPresence(url, channel);
                if (this.url !== null) {
                    chosen.set(removeTokens(url), removeTokens(this.url));
                    found.url = resolveUrl(this.url).href;
                }
            } catch {
                return; // It is no URL, as the request will say.
            }
            this.leave(this.subject);
            const key = removeTokens(found.url);
            if (key !== this.key) {
                this.key = key;
                this.forget();
            }
            this.subject = subscription;
            const { transport, location, share, tokenUrl } = channel;
            const options = { credentials, transport, location, share, tokenUrl };
            this.undo[1] = this.updates.subscribe({
                [this.name]: { ...options, url: found.url, channel: found.id },
            });
        }

        leave(subject) {
            if (subject !== null && subject === this.subject) {
                this.subject = null;
                this.undo[1]();
            }
        }

        close() {
            this.leave(this.subject);
            this.undo[0]();
        }

        receive(message) {
            const { type, count } = message ?? {};
            if (this.channel !== null) {
                forgetIds(this.channel);
            }
            if (type === "state" || (type === "diff" && this.isKnown)) {
                const hadNames = this.members !== null;
                const isState = type === "state" || (hadNames && count !== undefined);
                const changes = isState ? this.replace(message) : this.change(message);
                this.isKnown = true;
                this.tell(isState, changes);
            }
        }

        /** Know what a state says; return what differs from what was known. */
        replace({ members, count, others }) {
            const before = this.members;
            this.others = others;
            this.named = count;
            this.members = null;
            if (count !== undefined) {
                return [];
            }
            this.members = new Map();
            for (const [key, { info }] of Object.entries(members)) {
                this.members.set(key, info);
            }
            const changes = [];
            before?.forEach((info, key) => {
                if (!this.members.has(key)) {
                    changes.push(["onLeave", key, info]);
                }
            });
            this.members.forEach((info, key) => {
                if (before && !(before.has(key) && isSame(before.get(key), info))) {
                    changes.push(["onJoin", key, info, !before.has(key)]);
                }
            });
            return changes;
        }

        /** Know what has changed; return what was not known. */
        change({ joins, leaves, count, others }) {
            const { members } = this;
            this.others = others;
            this.named = count;
            const changes = [];
            if (members === null) {
                return changes;
            }
            for (const [key, { info }] of Object.entries(leaves)) {
                if (members.delete(key)) {
                    changes.push(["onLeave", key, info]);
                }
            }
            for (const [key, { info }] of Object.entries(joins)) {
                const isNew = !members.has(key);
                if (isNew || !isSame(members.get(key), info)) {
                    members.set(key, info);
                    changes.push(["onJoin", key, info, isNew]);
                }
            }
            return changes;
        }

        tell(isState, changes) {
            for (const listener of [...this.listeners]) {
                if (listener.isSynced) {
                    changes.forEach((change) => this.call(listener, ...change));
                }
                this.sync(listener, isState);
            }
        }

        /** Tell a listener all if it does not know it, and the number if it differs. */
        sync(listener, isState = false) {
            const { members, others } = this;
            const count = (members === null ? this.named : members.size) + others;
            if (isState || !listener.isSynced) {
                listener.isSynced = true;
                const told = { members: new Map(members ?? []), others, count };
                this.call(listener, "onSync", told);
            }
            if (listener.count !== count) {
                listener.count = count;
                this.call(listener, "onCount", count);
            }
        }

        call(listener, event, ...args) {
            const fn = listener.functions[event];
            if (fn && this.listeners.has(listener)) {
                try {
                    fn(...args);
                } catch (error) {
                    console.error("updates: a function of the page failed:", error);
                }
            }
        }
    }

    /** Add `presence` to an `updates`. */
    function attach(updates) {
        if (updates[ATTACHED]) {
            return; // The file is on the page twice.
        }
        updates[ATTACHED] = tellHidden; // For updates.tabs.js.
        const all = new Map(); // By name.
        const subscribed = new Map(); // The last subscription and its signal, by name.
        if (updates[STREAMS]) {
            updates[STREAMS].markHidden = mark;
        }
        if (typeof document !== "undefined") {
            document.addEventListener("visibilitychange", changeVisibility);
        }

        tellHidden(updates, (subscription, signal) => {
            const { name } = subscription;
            subscribed.set(name, { subscription, signal });
            signal.addEventListener("abort", () => {
                if (subscribed.get(name)?.signal === signal && !subscription.wanted) {
                    subscribed.delete(name);
                }
            });
            all.get(name)?.follow(subscription, signal);
            for (const presence of all.values()) {
                if (presence.name === name) {
                    presence.channel = subscription;
                }
            }
        });

        updates.presence = (name, options = {}) => {
            const { url = null, ...functions } = options;
            for (const fn of Object.values(functions)) {
                if (fn !== undefined && typeof fn !== "function") {
                    throw new TypeError(`updates: a function is needed, not ${fn}`);
                }
            }
            name = String(name);
            if (!all.has(name)) {
                all.set(name, new Presence(updates, name));
            }
            const presence = all.get(name);
            const listener = { functions, isSynced: false, count: null };
            presence.url ??= url;
            presence.listeners.add(listener);
            if (presence.isKnown) {
                queueMicrotask(() => presence.sync(listener));
            } else if (subscribed.has(name)) {
                const { subscription, signal } = subscribed.get(name);
                presence.follow(subscription, signal);
            } else {
                // It may be subscribed to since before this file was loaded.
                updates.unsubscribe(name)();
            }
            return () => {
                presence.listeners.delete(listener);
                if (presence.listeners.size === 0 && all.get(name) === presence) {
                    all.delete(name);
                    presence.close();
                }
            };
        };
    }

    if (typeof globalThis.updates?.carryBy === "function") {
        attach(globalThis.updates);
    } else {
        console.error("updates.presence.js needs updates.js before it.");
    }

    // For tests.
    if (typeof module === "object" && module.exports) {
        module.exports = { attach, findPresence };
    }
})();
