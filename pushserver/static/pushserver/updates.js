/*! updates.js of django-pushserver, BSD-3-Clause
 *
 *     updates.subscribe({news: "/updates/news"});
 *     updates.registerProcessor("news", "story", (story) => show(story));
 *
 * Receives messages by long polling: in order, each once, and reports missed ones.
 * updates.d.ts documents each call.
 *
 * A classic script that also runs as a module. Sets window.updates and, with jQuery,
 * $.updates; exports are in updates.module.js. For browsers since 2020.
 */
(function () {
    "use strict";

    /** The most milliseconds to wait after an error; doubled each time. */
    const FIRST_DELAY = 1000;
    /** The most milliseconds to wait, unless the server asks for more. */
    const MAX_DELAY = 30 * 1000;
    /** The longest Retry-After, in milliseconds. */
    const MAX_RETRY_AFTER = 60 * 60 * 1000;
    /** Milliseconds after which a request counts as held. */
    const HELD_AFTER = 1000;
    /** Milliseconds after which a held request is repeated. */
    const MAX_HELD = 120 * 1000;
    /** If a 304 arrives within these milliseconds, the location holds no requests. */
    const QUICK = 500;
    /** The most of these in a row before there is only one request a second. */
    const MAX_QUICK = 5;
    /** Milliseconds between two checks whether the computer was asleep. */
    const TICK = 2 * 1000;
    /** Delay of a check that means it was asleep; hidden pages check once a minute. */
    const SLEPT = { visible: 10 * 1000, hidden: 90 * 1000 };
    /** The most ids of each channel that are remembered. */
    const MAX_SEEN = 256;

    const IS_FIREFOX = "mozInnerScreenX" in globalThis;

    // Headers and bodies

    /** Return the number of an Etag as text, null if it cannot be read. */
    function readTag(etag, cacheControl) {
        // Proxies quote an Etag, weaken it, mark it (3-gzip), drop it or replace it by
        // their own; Cache-Control has the server's, too.
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

    /** Return the id in a text such as "1795350764:1". */
    function parseId(text) {
        const match = /^(\d{1,11}):(\d+)$/.exec(text);
        if (match === null) {
            throw new TypeError(`An id is <time>:<tag>, not ${JSON.stringify(text)}`);
        }
        const date = new Date(match[1] * 1000).toUTCString();
        return { date, tag: match[2], text: `${+match[1]}:${match[2]}` };
    }

    const EPOCH = parseId("0:0");

    /** Return the milliseconds of a Retry-After, null for none. */
    function readRetryAfter(value, now) {
        const text = (value ?? "").trim();
        const delay = /^\d+$/.test(text) ? text * 1000 : Date.parse(text) - now;
        return Number.isNaN(delay) ? null : Math.min(Math.max(delay, 0), MAX_RETRY_AFTER);
    }

    /** Return a random delay in milliseconds after failures. */
    function fullJitter(failures) {
        return Math.random() * Math.min(MAX_DELAY, FIRST_DELAY * 2 ** failures);
    }

    /** Return the text of a body, in the charset of its type, or in UTF-8. */
    function readText(bytes, contentType) {
        const match = /;\s*charset\s*=\s*["']?([^\s;"',]+)/i.exec(contentType ?? "");
        try {
            return new TextDecoder(match?.[1]).decode(bytes);
        } catch {
            return new TextDecoder().decode(bytes); // The charset is unknown.
        }
    }

    /** Return the data in a body: decoded JSON, or its text. */
    function decode(text, contentType) {
        const json = /^(?:application|text)\/(?:x-)?json\b|\+json\b/i.test(contentType ?? "");
        // It may be JSON under another type; a number alone may be a text.
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

    /** Wait a number of milliseconds, or until a signal is aborted. */
    async function sleep(delay, signal) {
        let timer;
        const over = new Promise((resolve) => (timer = setTimeout(resolve, delay)));
        await Promise.race([over, whenAborted(signal)]);
        clearTimeout(timer);
    }

    const whenAborted = (signal) =>
        new Promise((resolve) => signal.addEventListener("abort", () => resolve(0)));

    const nextEvent = (type) =>
        new Promise((resolve) => document.addEventListener(type, resolve, { once: true }));

    /** Wait until the page's scripts have been able to register processors. */
    async function whenParsed() {
        if (!isParsed()) {
            await nextEvent("DOMContentLoaded");
        }
        await new Promise((resolve) => setTimeout(resolve));
    }

    /** Wait until a prerendered page is shown. */
    async function whenShown() {
        if (globalThis.document?.prerendering) {
            await nextEvent("prerenderingchange");
        }
    }

    function isParsed() {
        if (typeof document === "undefined" || document.readyState === "complete") {
            return true;
        }
        // "interactive" is both before and after DOMContentLoaded.
        const [page] = performance.getEntriesByType("navigation");
        return (
            document.readyState === "interactive" &&
            (page === undefined || page.domContentLoadedEventStart > 0)
        );
    }

    /** Call a function of the page; report an exception. */
    function callSafely(fn, ...args) {
        try {
            fn(...args);
        } catch (error) {
            console.error("updates: a function of the page failed:", error);
        }
    }

    /** Add to a list, and return a function that removes it. */
    function addTo(list, entry) {
        list.push(entry);
        return () => {
            const index = list.indexOf(entry);
            if (index >= 0) {
                list.splice(index, 1);
            }
        };
    }

    /** Return the options of a channel, which may be a URL. */
    function readChannel(channel) {
        const full = Object(channel) === channel && "url" in channel;
        return full ? channel : { url: channel };
    }

    function checkFunction(fn) {
        if (typeof fn !== "function") {
            throw new TypeError(`updates: a function is needed, not ${fn}`);
        }
    }

    /** Requests the messages of one channel, each after the last one. */
    class Subscription {
        constructor(name, channel, tell) {
            this.name = name;
            this.channel = channel;
            this.url = String(channel.url);
            this.credentials = channel.credentials ?? "include";
            this.tell = tell;
            this.position = channel.after ? parseId(String(channel.after)) : EPOCH;
            this.seen = new Set([this.position.text]);
            this.wanted = false;
            this.listening = false;
            this.state = null;
            this.details = {};
            this.failures = 0;
            this.quick = 0;
            this.askedAt = null;
            this.bound = false;
            this.warning = null;
            this.quoted = false; // Whether to send tags as "3", not as 3.
            // The id of a message that a proxy replaced by a 304, or that may be missed.
            this.swallowed = channel.missed ? this.position.text : null;
        }

        start() {
            this.wanted = true;
            this.bound = false;
            if (!this.listening) {
                this.listening = true;
                this.listen();
            }
        }

        /** Stop listening, without reporting a state. */
        stop() {
            this.wanted = false;
            this.state = null;
            this.turn?.abort();
        }

        /** Request at once, on a new connection. */
        hurry() {
            if (!this.bound) {
                this.state = null;
                this.turn?.abort();
            }
        }

        /** Repeat a request that has been held for long. */
        check(now) {
            if (this.askedAt !== null && now - this.askedAt > MAX_HELD) {
                this.turn.abort();
            }
        }

        async listen() {
            await whenParsed();
            await whenShown();
            while (this.wanted) {
                this.turn = new AbortController();
                const { signal } = this.turn;
                const asking = this.tell.carry(this, signal) ?? this.ask(signal);
                // In Firefox a request may not end if it is aborted at "pagehide".
                const ended = signal.aborted || whenAborted(signal);
                const delay = await Promise.race([asking, ended]);
                if (delay > 0 && !signal.aborted) {
                    await sleep(delay, signal);
                }
                this.bound = false;
            }
            this.listening = false;
        }

        /** Send a request; return the milliseconds to wait before the next one. */
        async ask(signal) {
            this.askedAt = Date.now();
            if (this.state !== "live") {
                this.setState("connecting");
            }
            const live = () => signal.aborted || this.setState("live");
            const held = setTimeout(live, HELD_AFTER);
            const { date, tag } = this.position;
            const headers = {
                "If-Modified-Since": date,
                "If-None-Match": this.quoted ? `"${tag}"` : tag,
            };
            const exchange = { name: this.name, url: this.url, request: headers };
            this.tell.exchange(exchange);
            try {
                const response = await fetch(this.url, {
                    headers,
                    credentials: this.credentials,
                    // Otherwise a browser answers from its cache, and makes requests
                    // for the same URL wait for each other.
                    cache: "no-store",
                    // Other requests keep a page out of Firefox's back-forward cache.
                    keepalive: IS_FIREFOX && !this.failures,
                    signal,
                });
                const bytes = new Uint8Array(await response.arrayBuffer());
                const text = readText(bytes, response.headers.get("Content-Type"));
                if (signal.aborted) {
                    return 0;
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
                this.askedAt = signal.aborted ? this.askedAt : null;
            }
        }

        handle({ status, headers }, bytes, text) {
            if (status === 200) {
                return this.receive(headers, bytes, text);
            }
            if (status === 304 || status === 408) {
                return this.receiveNothing(status, headers);
            }
            const plain = (headers.get("Content-Type") ?? "").startsWith("text/plain");
            const detail = { status, reason: plain ? text.trim().slice(0, 200) : "" };
            // A deleted channel's has a sentence; that of an nginx with Nchan that is
            // reloaded or stopped is empty.
            if (status === 410 && detail.reason) {
                this.tell.gone(); // First: the page may subscribe again at once.
                this.setState("gone", detail);
                return 0;
            }
            const asked = readRetryAfter(headers.get("Retry-After"), Date.now());
            if (asked !== null) {
                this.bound = true;
                return this.wait(asked + Math.random() * FIRST_DELAY, detail);
            }
            this.quoted = this.quoted && status !== 400; // Old servers cannot read it.
            const isRefused = status < 500 && status !== 410;
            return isRefused ? this.retrySlowly(detail) : this.retry(detail);
        }

        receive(headers, bytes, text) {
            const id = readId(headers);
            if (id === null) {
                // The next message could not be requested.
                const reason = "The answer has no readable Last-Modified and Etag.";
                return this.retrySlowly({ status: 200, reason });
            }
            if (this.seen.has(id.text)) {
                return this.retry({ status: 200, reason: `${id.text} came again.` });
            }
            this.deliver(id, headers, bytes, text);
            return 0;
        }

        deliver(id, headers, bytes, text) {
            this.succeed();
            if (!this.wanted) {
                return; // The page unsubscribed.
            }
            this.quick = 0;
            this.position = id;
            this.seen.add(id.text);
            if (this.seen.size > MAX_SEEN) {
                this.seen.delete(this.seen.values().next().value);
            }
            const gap = this.swallowed === id.text ? null : this.swallowed;
            this.swallowed = null;
            const contentType = headers.get("Content-Type");
            this.tell.message(
                {
                    name: this.name,
                    id: id.text,
                    contentType,
                    event: headers.get("Event"),
                    exclude: headers.get("Push-Exclude"),
                    data: decode(text, contentType),
                    text,
                    bytes,
                },
                headers.get("Push-Gap") ?? gap,
            );
        }

        receiveNothing(status, headers) {
            // Varnish replaces a message with the tag that was sent by a 304, unless the
            // tag was in quotes.
            const time = Date.parse(headers.get("Last-Modified")) / 1000;
            const other = `${time}:${this.position.tag}`;
            if (status === 304 && time >= 0 && other !== this.position.text) {
                this.swallowed = other;
                const detail = { status, reason: "A proxy put it in a message's place." };
                if (this.quoted) {
                    return this.retrySlowly(detail);
                }
                this.quoted = true;
                this.warn(detail);
                return this.wait(0, detail);
            }
            this.succeed();
            this.quick = Date.now() - this.askedAt < QUICK ? this.quick + 1 : 0;
            return this.quick > MAX_QUICK ? FIRST_DELAY : 0;
        }

        succeed() {
            this.failures = 0;
            this.warning = null;
            this.setState("live");
        }

        /** Wait after an error of the network or the server. */
        retry(detail) {
            if (Date.now() - this.askedAt > MAX_DELAY) {
                this.failures = 0; // There was no error for a while.
            }
            return this.wait(fullJitter(this.failures++), detail);
        }

        /** Wait long: the server will probably refuse again. */
        retrySlowly(detail) {
            this.warn(detail);
            return this.wait(MAX_DELAY / 2 + (Math.random() * MAX_DELAY) / 2, detail);
        }

        /** Write into the console, once. */
        warn({ status, reason }) {
            const warning = `updates: ${this.url} answers ${status} ${reason}`;
            if (warning !== this.warning) {
                this.warning = warning;
                console.warn(warning);
            }
        }

        wait(delay, detail) {
            this.setState("waiting", { ...detail, retryIn: delay });
            return delay;
        }

        setState(state, detail = {}) {
            if (state !== this.state) {
                this.state = state;
                this.detail = { ...this.details, ...detail };
                this.tell.state(state, this.name, this.detail);
            }
        }
    }

    function createUpdates() {
        const subscriptions = new Map();
        const listeners = new Map(); // By name, in the order of calls.
        const stateListeners = [];
        const exchangeListeners = [];
        const clientId = Math.random().toString(36).slice(2);
        let carry = () => null; // From updates.streams.js.
        let away = false; // Whether the page is in the back-forward cache.
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
                    if (message.exclude !== clientId) {
                        call(name, "message", message);
                    }
                },
                state(...args) {
                    [...stateListeners].forEach((fn) => callSafely(fn, ...args));
                },
                exchange(exchange) {
                    [...exchangeListeners].forEach((fn) => callSafely(fn, exchange));
                },
                gone: () => remove(subscription),
                carry: (...args) => carry(...args),
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

        const isHidden = () => globalThis.document?.hidden;

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
            if (IS_FIREFOX) {
                // Otherwise requests of a closed tab remain. But the page may stay.
                addEventListener("beforeunload", () => {
                    leave();
                    setTimeout(comeBack, QUICK);
                });
            }
            // Not "unload": it prevents the back-forward cache.
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
            clientId,
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
                    // Old pages register numbers, too.
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
            // For the other scripts.
            carryBy: (make) => (carry = make(parts, carry)),
        };
    }

    /** Set $.updates in each jQuery on the page, now or later. */
    function offerToJQuery(updates) {
        let jQuery = globalThis.jQuery;
        const offer = (candidate) => {
            if (candidate?.fn?.jquery) {
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
            // The name is fixed, so jQuery is there already.
        }
        whenParsed().then(() => offer(globalThis.$));
    }

    const parts = {
        ...{ parseId, readText, whenParsed, createUpdates },
        ...{ fullJitter, readRetryAfter },
    };

    // The file may be on a page twice. (And an element with the id "updates" is window's.)
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
            decode,
            readId,
            readTag,
            ...parts,
        };
    }
})();
