/*! updates.js of django-pushserver, BSD-3-Clause
 *
 *     updates.subscribe({news: "/updates/news"});
 *     updates.registerProcessor("news", "story", (story) => show(story));
 *
 * Hears what is published on channels, by long polling: in order, nothing twice, and
 * told where something was missed. What each call does is in updates.d.ts beside this.
 *
 * A classic script that also runs as a module: either way it makes window.updates, and
 * $.updates where there is jQuery. It can name no exports, which classic scripts refuse
 * to parse: updates.module.js beside this does. Needs a browser from 2020 or later.
 */
(function () {
    "use strict";

    /** Milliseconds of the longest first wait after an error; it doubles each time. */
    const FIRST_DELAY = 1000;
    /** Milliseconds of the longest wait, unless the server asks for more. */
    const MAX_DELAY = 30 * 1000;
    /** What a Retry-After can ask for: timers overflow at 25 days, and people give up. */
    const MAX_RETRY_AFTER = 60 * 60 * 1000;
    /** A request that stands for so long is taken for held: the server says nothing. */
    const HELD_AFTER = 1000;
    /** A held request is asked anew then: its connection may be dead without a sign. */
    const MAX_HELD = 120 * 1000;
    /** "Nothing new" that comes sooner is that of a location which holds no requests. */
    const QUICK = 500;
    /** So many quick answers in a row are followed up at once, others a second later. */
    const MAX_QUICK = 5;
    /** How often to look at the clock, to see that the computer has slept. */
    const TICK = 2 * 1000;
    /** Late by so much, the computer has slept; hidden pages tick once a minute. */
    const SLEPT = { visible: 10 * 1000, hidden: 90 * 1000 };
    /** How many ids of messages are remembered for each channel. */
    const MAX_SEEN = 256;

    // What is on the wire

    /** Return the number of an Etag as text, null if it cannot be told. */
    function readTag(etag, cacheControl) {
        // Proxies quote an Etag, weaken it, mark it (3-gzip), drop it or put their own
        // in its place; what the server wrote is in Cache-Control, too.
        const match =
            /^(\d+)$/.exec(etag ?? "") ??
            /(?:^|[\s,])etag=(?:W\/)?"?(\d+)"?\s*(?:,|$)/i.exec(cacheControl ?? "") ??
            /^(?:W\/)?"(\d+)(?:[-;]+[a-z]+)?"$/i.exec(etag ?? "");
        return match && match[1];
    }

    /** Return the id in an answer's headers, null if it has none. */
    function readId(headers) {
        const date = headers.get("Last-Modified");
        const time = Date.parse(date ?? "") / 1000;
        const tag = readTag(headers.get("Etag"), headers.get("Cache-Control"));
        if (Number.isNaN(time) || tag === null) {
            return null;
        }
        return { date, tag, text: `${time}:${tag}` };
    }

    /** Return the id that a text such as "1795350764:1" names. */
    function parseId(text) {
        const match = /^(\d{1,11}):(\d+)$/.exec(text);
        if (match === null) {
            throw new TypeError(`An id is <time>:<tag>, not ${JSON.stringify(text)}`);
        }
        const date = new Date(match[1] * 1000).toUTCString();
        return { date, tag: match[2], text };
    }

    const EPOCH = parseId("0:0");

    /** Return the milliseconds that a Retry-After asks for, null if it asks nothing. */
    function readRetryAfter(value, now) {
        const text = (value ?? "").trim();
        const delay = /^\d+$/.test(text) ? text * 1000 : Date.parse(text) - now;
        return Number.isNaN(delay) ? null : Math.min(Math.max(delay, 0), MAX_RETRY_AFTER);
    }

    /** Return a wait after so many failures: any up to a limit, so clients spread out. */
    function fullJitter(failures) {
        return Math.random() * Math.min(MAX_DELAY, FIRST_DELAY * 2 ** failures);
    }

    /** Return what a body holds: decoded JSON, or else its text. */
    function decode(text, contentType) {
        const json = /^(?:application|text)\/json\b|\+json\b/i.test(contentType ?? "");
        // Publishers name other types or none for JSON; a number alone may be a text.
        if (!json && !/^\s*[[{]/.test(text)) {
            return text;
        }
        try {
            return JSON.parse(text);
        } catch (error) {
            if (json) {
                console.error("updates: a message is no JSON:", text, error);
            }
            return text;
        }
    }

    // Time and the page

    /** Wait, or less long if a signal aborts it. */
    function sleep(delay, signal) {
        return new Promise((resolve) => {
            const done = () => {
                clearTimeout(timer);
                signal.removeEventListener("abort", done);
                resolve();
            };
            const timer = setTimeout(done, delay);
            signal.addEventListener("abort", done);
        });
    }

    /** Wait until the page's scripts had their chance to register processors. */
    function whenParsed() {
        return new Promise((resolve) => {
            const soon = () => setTimeout(resolve);
            if (isParsed()) {
                soon();
            } else {
                document.addEventListener("DOMContentLoaded", soon, { once: true });
            }
        });
    }

    function isParsed() {
        if (typeof document === "undefined" || document.readyState === "complete") {
            return true;
        }
        // "interactive" is before DOMContentLoaded, while deferred scripts run, and after.
        const [page] = performance.getEntriesByType("navigation");
        return (
            document.readyState === "interactive" &&
            (page === undefined || page.domContentLoadedEventStart > 0)
        );
    }

    /** Call a page's function; what it throws is its own affair. */
    function callSafely(fn, ...args) {
        try {
            fn(...args);
        } catch (error) {
            console.error("updates: a function of the page failed:", error);
        }
    }

    /** Add an entry to a list, and return a function that takes it out again. */
    function addTo(list, entry) {
        list.push(entry);
        return () => {
            const index = list.indexOf(entry);
            if (index >= 0) {
                list.splice(index, 1);
            }
        };
    }

    /** Return the options of a channel that a page names by its URL, or in full. */
    function readChannel(channel) {
        const full = typeof channel === "object" && channel !== null && "url" in channel;
        return full ? channel : { url: channel };
    }

    function checkFunction(fn) {
        if (typeof fn !== "function") {
            throw new TypeError(`updates: a function is needed, not ${fn}`);
        }
    }

    /** One channel that is listened to: asks for the message after the last one. */
    class Subscription {
        constructor(name, { url, after, credentials = "include" }, tell) {
            this.name = name;
            this.url = String(url);
            this.credentials = credentials;
            this.tell = tell;
            this.position = after ? parseId(String(after)) : EPOCH;
            this.seen = new Set([this.position.text]);
            this.wanted = false;
            this.listening = false;
            this.state = null;
            this.detail = {};
            this.failures = 0;
            this.quick = 0;
            this.askedAt = null;
            this.bound = false;
            this.warning = null;
        }

        /** Listen, from where it stopped. */
        start() {
            this.wanted = true;
            this.bound = false;
            if (!this.listening) {
                this.listening = true;
                this.listen();
            }
        }

        /** Stop listening; who asked for it needs no telling. */
        stop() {
            this.wanted = false;
            this.state = null;
            this.turn?.abort();
        }

        /** Ask at once, on a new connection if the old one may be dead. */
        hurry() {
            if (!this.bound) {
                this.state = null;
                this.turn?.abort();
            }
        }

        /** Ask anew if the request is held so long that it may be forgotten. */
        check(now) {
            if (this.askedAt !== null && now - this.askedAt > MAX_HELD) {
                this.turn.abort();
            }
        }

        async listen() {
            await whenParsed();
            while (this.wanted) {
                this.turn = new AbortController();
                const { signal } = this.turn;
                const delay = await this.ask(signal);
                if (delay > 0 && !signal.aborted) {
                    await sleep(delay, signal);
                }
                this.bound = false;
            }
            this.listening = false;
        }

        /** Ask once, and return how long to wait before asking again. */
        async ask(signal) {
            this.askedAt = Date.now();
            if (this.state !== "live") {
                this.setState("connecting");
            }
            const held = setTimeout(
                () => signal.aborted || this.setState("live"),
                HELD_AFTER,
            );
            const headers = {
                "If-Modified-Since": this.position.date,
                "If-None-Match": this.position.tag,
            };
            const exchange = { name: this.name, url: this.url, request: headers };
            this.tell.exchange(exchange);
            try {
                const response = await fetch(this.url, {
                    headers,
                    credentials: this.credentials,
                    // Browsers would answer a 304 from their cache, and let pages that
                    // ask for the same URL wait for each other.
                    cache: "no-store",
                    signal,
                });
                const bytes = new Uint8Array(await response.arrayBuffer());
                const text = new TextDecoder().decode(bytes);
                if (!this.wanted) {
                    return 0; // It is asked for again when the page comes back.
                }
                this.tell.exchange({
                    ...exchange,
                    status: response.status,
                    statusText: response.statusText,
                    response: Object.fromEntries(response.headers),
                    text,
                });
                return this.handle(response, bytes, text);
            } catch (error) {
                return signal.aborted ? 0 : this.retry({ reason: error.message });
            } finally {
                clearTimeout(held);
                this.askedAt = null;
            }
        }

        handle({ status, headers }, bytes, text) {
            if (status === 200) {
                return this.receive(headers, bytes, text);
            }
            if (status === 304 || status === 408) {
                return this.receiveNothing();
            }
            const plain = (headers.get("Content-Type") ?? "").startsWith("text/plain");
            const detail = { status, reason: plain ? text.trim().slice(0, 200) : "" };
            if (status === 410) {
                this.tell.gone(); // First, so that the page may subscribe again at once.
                this.setState("gone", detail);
                return 0;
            }
            const asked = readRetryAfter(headers.get("Retry-After"), Date.now());
            if (asked !== null) {
                this.bound = true;
                return this.wait(asked + Math.random() * FIRST_DELAY, detail);
            }
            return status < 500 ? this.retrySlowly(detail) : this.retry(detail);
        }

        receive(headers, bytes, text) {
            const id = readId(headers);
            if (id === null) {
                // The message cannot be told from the next one: giving it to the page
                // would give it for ever.
                return this.retrySlowly({
                    status: 200,
                    reason: "The answer has no readable Last-Modified and Etag.",
                });
            }
            // Ids may go back, when a server lost its store or its clock was set: what
            // is older is not dropped, only what was seen.
            if (this.seen.has(id.text)) {
                return this.retry({ status: 200, reason: `${id.text} came again.` });
            }
            this.succeed();
            this.quick = 0;
            this.position = id;
            this.seen.add(id.text);
            if (this.seen.size > MAX_SEEN) {
                this.seen.delete(this.seen.values().next().value);
            }
            const contentType = headers.get("Content-Type");
            this.tell.message(
                {
                    name: this.name,
                    id: id.text,
                    contentType,
                    data: decode(text, contentType),
                    text,
                    bytes,
                },
                headers.get("Push-Gap"),
            );
            return 0;
        }

        receiveNothing() {
            this.succeed();
            this.quick = Date.now() - this.askedAt < QUICK ? this.quick + 1 : 0;
            return this.quick > MAX_QUICK ? FIRST_DELAY : 0;
        }

        succeed() {
            this.failures = 0;
            this.warning = null;
            this.setState("live");
        }

        /** Wait as after an error of the network or the server. */
        retry(detail) {
            if (Date.now() - this.askedAt > MAX_DELAY) {
                this.failures = 0; // It went well for a while: that is no overload.
            }
            return this.wait(fullJitter(this.failures++), detail);
        }

        /** Wait long: the server answers, and means it. */
        retrySlowly(detail) {
            const { status, reason } = detail;
            const warning = `updates: ${this.url} answers ${status} ${reason}`;
            if (warning !== this.warning) {
                this.warning = warning;
                console.warn(warning);
            }
            return this.wait(MAX_DELAY / 2 + (Math.random() * MAX_DELAY) / 2, detail);
        }

        wait(delay, detail) {
            this.setState("waiting", { ...detail, retryIn: delay });
            return delay;
        }

        setState(state, detail = {}) {
            if (state !== this.state) {
                this.state = state;
                this.detail = detail;
                this.tell.state(state, this.name, detail);
            }
        }
    }

    function createUpdates() {
        const subscriptions = new Map();
        const listeners = new Map(); // By name, in the order in which they are called.
        const stateListeners = [];
        const exchangeListeners = [];
        let away = false; // Whether the page is left, maybe to be come back to.
        let lastTick = 0;
        let ticking = null;

        function addListener(name, listener) {
            name = String(name);
            if (!listeners.has(name)) {
                listeners.set(name, []);
            }
            return addTo(listeners.get(name), listener);
        }

        function call(name, event, ...args) {
            for (const listener of [...(listeners.get(name) ?? [])]) {
                if (listener[event]) {
                    callSafely(listener[event], ...args);
                }
            }
        }

        function makeSubscription(name, channel) {
            const subscription = new Subscription(name, channel, {
                message(message, gap) {
                    if (gap !== null) {
                        call(name, "gap", gap, name);
                    }
                    call(name, "message", message);
                },
                state(...args) {
                    [...stateListeners].forEach((fn) => callSafely(fn, ...args));
                },
                exchange(exchange) {
                    [...exchangeListeners].forEach((fn) => callSafely(fn, exchange));
                },
                gone: () => remove(subscription),
            });
            return subscription;
        }

        function add(subscription) {
            if (subscriptions.has(subscription.name)) {
                return;
            }
            subscriptions.set(subscription.name, subscription);
            watchClock();
            if (!away) {
                subscription.start();
            }
        }

        function remove(subscription) {
            if (subscriptions.get(subscription.name) === subscription) {
                subscriptions.delete(subscription.name);
                subscription.stop();
                watchClock();
            }
        }

        // The clock: only while there is something to listen to

        function watchClock() {
            if (subscriptions.size > 0 && ticking === null) {
                lastTick = Date.now();
                ticking = setInterval(lookAtClock, TICK);
            } else if (subscriptions.size === 0) {
                clearInterval(ticking);
                ticking = null;
            }
        }

        function lookAtClock() {
            const now = Date.now();
            const slept = now - lastTick - TICK > SLEPT[isHidden() ? "hidden" : "visible"];
            lastTick = now;
            if (slept) {
                hurry();
            } else {
                subscriptions.forEach((subscription) => subscription.check(now));
            }
        }

        const isHidden = () => typeof document !== "undefined" && document.hidden;

        // The page

        /** Ask at once: the network or the computer was away. */
        function hurry() {
            lastTick = Date.now();
            subscriptions.forEach((subscription) => subscription.hurry());
        }

        function leave() {
            away = true;
            subscriptions.forEach((subscription) => subscription.stop());
        }

        function comeBack() {
            away = false;
            lastTick = Date.now();
            subscriptions.forEach((subscription) => subscription.start());
        }

        function watchPage() {
            if (typeof addEventListener !== "function" || typeof document === "undefined") {
                return;
            }
            // Not "unload", which keeps a page out of the back-forward cache.
            addEventListener("pagehide", leave);
            addEventListener("pageshow", (event) => event.persisted && comeBack());
            addEventListener("online", hurry);
            document.addEventListener("resume", hurry);
            document.addEventListener("visibilitychange", () => {
                if (isHidden() || ticking === null) {
                    return;
                }
                lookAtClock();
                subscriptions.forEach((subscription) => {
                    if (subscription.state === "waiting") {
                        subscription.hurry();
                    }
                });
            });
        }

        watchPage();

        return {
            subscribe(channels) {
                const added = [];
                for (const [name, channel] of Object.entries(channels ?? {})) {
                    const options = readChannel(channel);
                    if (options.url && !subscriptions.has(name)) {
                        const subscription = makeSubscription(name, options);
                        add(subscription);
                        added.push(subscription);
                    }
                }
                return () => added.forEach(remove);
            },
            unsubscribe(name) {
                const subscription = subscriptions.get(String(name));
                if (subscription === undefined) {
                    return () => {};
                }
                remove(subscription);
                return () => add(subscription);
            },
            close() {
                const closed = [...subscriptions.values()];
                closed.forEach(remove);
                return () => closed.forEach(add);
            },
            registerProcessor(name, type, fn) {
                checkFunction(fn);
                const message = ({ data }) => {
                    // Old pages register numbers, too: types were an object's keys.
                    if (data && String(data.type) === String(type)) {
                        fn(data);
                    }
                };
                return addListener(name, { message });
            },
            on(name, fn) {
                checkFunction(fn);
                return addListener(name, { message: fn });
            },
            onGap(name, fn) {
                checkFunction(fn);
                return addListener(name, { gap: fn });
            },
            onState(fn) {
                checkFunction(fn);
                const undo = addTo(stateListeners, fn);
                for (const { state, name, detail } of [...subscriptions.values()]) {
                    if (state !== null) {
                        callSafely(fn, state, name, detail);
                    }
                }
                return undo;
            },
            onExchange(fn) {
                checkFunction(fn);
                return addTo(exchangeListeners, fn);
            },
        };
    }

    /** Make updates known as $.updates to each jQuery that is on the page or will be. */
    function offerToJQuery(updates) {
        let jQuery = globalThis.jQuery;
        const offer = (candidate) => {
            if (typeof candidate === "function" && candidate.fn?.jquery) {
                candidate.updates = updates;
            }
        };
        offer(jQuery);
        try {
            Object.defineProperty(globalThis, "jQuery", {
                configurable: true,
                enumerable: true,
                get: () => jQuery,
                set(value) {
                    jQuery = value;
                    offer(value);
                },
            });
        } catch {
            // A page that has fixed the name has its jQuery already.
        }
        whenParsed().then(() => offer(globalThis.$));
    }

    // The file may be on a page twice, as a script and imported. (An element with the id
    // "updates" is a property of window as well, but has no subscribe.)
    let updates = globalThis.updates;
    if (typeof updates?.registerProcessor !== "function") {
        updates = createUpdates();
        globalThis.updates = updates;
        if (typeof document !== "undefined") {
            offerToJQuery(updates);
        }
    }

    // For bundlers and tests.
    if (typeof module === "object" && module.exports) {
        module.exports = {
            updates,
            createUpdates,
            decode,
            fullJitter,
            parseId,
            readId,
            readRetryAfter,
            readTag,
        };
    }
})();
