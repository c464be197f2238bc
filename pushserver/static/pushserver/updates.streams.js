/*! updates.streams.js of django-pushserver, BSD-3-Clause
 *
 *     <script src="updates.js"></script>
 *     <script src="updates.streams.js"></script>
 *
 * Receives the messages of all channels of a location on one stream of server-sent
 * events, where updates.js alone needs a request for each channel. Falls back to batches
 * or polls where streams do not work. Subscribes to the channels of {% push_channels %}.
 *
 * A classic script that also runs as a module, after updates.js. For browsers since 2020.
 */
(function () {
    "use strict";

    /** Milliseconds in which the first bytes of a stream have to arrive. */
    const FIRST_BYTES = 3 * 1000;
    /** A stream that ends within these milliseconds is regarded as broken. */
    const SHORT = 10 * 1000;
    /** The number of broken streams in a row after which another transport is used. */
    const MAX_SHORT = 3;
    /** Milliseconds until a stream is tried again; doubled each time, up to the most. */
    const TRY_AGAIN = { first: 30 * 1000, most: 30 * 60 * 1000 };
    /** Milliseconds to wait after the end of a stream, if the server names none. */
    const RETRY = 2 * 1000;
    /** Milliseconds after which a batch without an answer is regarded as held. */
    const HELD_AFTER = 1000;
    /** If an empty batch arrives within these milliseconds, there is one a second. */
    const QUICK = 500;
    /** The most characters of a URL, and the most channels in it. */
    const MAX_URL = 4096;
    const MAX_CHANNELS = 255;
    /** The characters of a position of one channel, at most in the next centuries. */
    const POSITION_LENGTH = 24;

    const WEBSOCKET = 0;
    const STREAM = 1;
    const BATCH = 2;
    const POLL = 3;
    const TRANSPORTS = ["websocket", "stream", "batch", "poll"];

    /** Statuses that a poll would be answered, too. */
    const FINAL = new Set([401, 403, 404, 409, 410, 429]);

    /** Why a stream has no more messages of a channel: a status and a sentence. */
    const REFUSALS = {
        "push-gone": [404, "There is no such channel."],
        "push-denied": [403, "The channel may not be read."],
        "push-expired": [401, "The permission to read the channel has expired."],
        "push-conflict": [409, "Another subscriber took this one's place."],
    };

    /** The types of messages that are sent as text if their bytes are UTF-8. */
    const TEXT_TYPE =
        /^(?:text\/.+|.+\+(?:json|xml)|application\/(?:(?:x-)?(?:json|javascript|ecmascript)|xml|xml-dtd|xml-external-parsed-entity|x-www-form-urlencoded))$/i;

    const IS_FIREFOX = "mozInnerScreenX" in globalThis;

    /** Reads server-sent events from pieces of text, and calls a function with each. */
    class EventParser {
        constructor(tell) {
            this.tell = tell;
            this.rest = "";
            this.searched = 0; // The characters of the rest that have no end of a line.
            this.isFirst = true;
            this.clear();
        }

        clear() {
            this.fields = {};
            this.data = [];
        }

        feed(text) {
            this.rest += text;
            if (this.isFirst && this.rest) {
                this.isFirst = false;
                this.rest = this.rest.replace(/^\uFEFF/, "");
            }
            // A CR at the end may be followed by an LF.
            const end = /\r\n|\n|\r(?!$)/g;
            let start = 0;
            end.lastIndex = this.searched;
            for (let match = end.exec(this.rest); match; match = end.exec(this.rest)) {
                this.readLine(this.rest.slice(start, match.index));
                start = end.lastIndex;
            }
            this.rest = this.rest.slice(start);
            this.searched = Math.max(this.rest.length - 1, 0);
        }

        readLine(line) {
            if (line === "") {
                const event = { ...this.fields, data: null };
                if (this.data.length > 0) {
                    event.data = this.data.join("\n");
                }
                this.clear();
                this.tell(event);
                return;
            }
            const colon = line.indexOf(":");
            const name = colon < 0 ? line : line.slice(0, colon);
            const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
            if (name === "data") {
                this.data.push(value);
            } else if (name !== "") {
                this.fields[name] = value;
            }
        }
    }

    /** Return whether messages of a type are sent as text, if their bytes are UTF-8. */
    function mayBeText(contentType) {
        return contentType === null || TEXT_TYPE.test(contentType.split(";")[0].trim());
    }

    /** Return the bytes of a message, which is bytes as a data: URL, or text. */
    function readBytes(data, contentType) {
        const prefix = `data:${contentType ?? "application/octet-stream"};base64,`;
        const text = new TextEncoder().encode(data);
        if (!data.startsWith(prefix)) {
            return text;
        }
        let bytes;
        try {
            bytes = Uint8Array.from(atob(data.slice(prefix.length)), (c) => c.charCodeAt(0));
        } catch {
            return text;
        }
        // A text may be a data: URL itself. Text is sent as bytes only if it is no UTF-8.
        if (mayBeText(contentType)) {
            try {
                new TextDecoder("utf-8", { fatal: true }).decode(bytes);
                return text;
            } catch {
                // It is no UTF-8.
            }
        }
        return bytes;
    }

    /**
     * Return the location in a Push-Location, null if it cannot be read.
     *
     * It starts at the root of the site, below which the given URL of the location is.
     */
    function readLocation(text, { origin, pathname }) {
        const match = /^(\/[^\s{]*)\{channels\}(\S*);\s*separator="(.)"$/.exec(text ?? "");
        const root = match ? pathname.indexOf(match[1]) : -1;
        if (root < 0) {
            return null;
        }
        const [, prefix, after, separator] = match;
        const before = pathname.slice(0, root) + prefix;
        const key = `${origin}${before}{channels}${after} ${separator}`;
        return { origin, before, after, separator, key };
    }

    /** Return the part of a URL that is a channel of a location, null if it has none. */
    function findChannel(location, { origin, pathname, searchParams }) {
        const { before, after, separator } = location;
        const channel = pathname.slice(before.length, pathname.length - after.length);
        const isOne =
            origin === location.origin &&
            channel !== "" &&
            pathname === before + channel + after &&
            !channel.includes(separator) &&
            [...searchParams.keys()].every((name) => name === "token");
        return isOne ? channel : null;
    }

    function resolveUrl(url) {
        const page = globalThis.document?.baseURI ?? globalThis.location?.href;
        return new URL(url, page ?? "http://localhost/");
    }

    /** Return a URL without tokens, which change. */
    function removeTokens({ href }) {
        const url = new URL(href);
        url.searchParams.delete("token");
        return url.href;
    }

    /** Return the channel id in a part of a URL, null if it cannot be decoded. */
    function decodeChannel(channel) {
        try {
            return decodeURIComponent(channel);
        } catch {
            return null;
        }
    }

    /** Plans which subscriptions share a stream, and opens the streams. */
    function createCarrier({ parseId, readText }) {
        const entries = new Set(); // Subscriptions that are carried, or wait for it.
        const connections = new Set();
        const locations = new Map(); // By key.
        const locationsOfUrls = new Map(); // What a server has answered for a URL.
        const states = new Map(); // What is known of streams, by location or folder.
        const alone = new WeakMap(); // The URLs of subscriptions that a stream refused.
        let planned = null;

        function learn(text, url) {
            const read = readLocation(text, url);
            const location = read && (locations.get(read.key) ?? read);
            if (location === null) {
                return null;
            }
            const before = states.get(folderOf(url));
            if (!states.has(location.key) && before?.level > STREAM) {
                states.set(location.key, { ...before, level: BATCH });
            }
            locations.set(location.key, location);
            if (findChannel(location, url) === null) {
                return null; // The URL has several channels.
            }
            locationsOfUrls.set(removeTokens(url), location);
            return location;
        }

        const folderOf = ({ origin, pathname }) =>
            origin + pathname.slice(0, pathname.lastIndexOf("/") + 1);

        /** Return the location of a subscription, null if it is not known. */
        function findLocation({ channel }, url) {
            const told = locationsOfUrls.get(removeTokens(url));
            if (told !== undefined || channel.location) {
                return told ?? learn(channel.location, url);
            }
            // Another location may begin alike, if there is a slash.
            const matches = (location) => !/\/|^$/.test(findChannel(location, url) ?? "");
            return [...locations.values()].find(matches) ?? null;
        }

        function findState(key) {
            if (!states.has(key)) {
                states.set(key, { level: WEBSOCKET, until: 0, tries: 0, short: 0, solo: false });
            }
            const state = states.get(key);
            if (Date.now() >= state.until) {
                state.level = WEBSOCKET;
            }
            return state;
        }

        /** Return where and how a subscription would be carried. */
        function find(subscription) {
            const url = resolveUrl(subscription.url);
            const location = findLocation(subscription, url);
            const key = location?.key ?? folderOf(url);
            const state = findState(key);
            const { transport = "stream" } = subscription.channel;
            // A WebSocket does not tell the location, so a stream has to find it.
            const canOpen = attach.openSocket && (location !== null || state.solo);
            const chosen = TRANSPORTS.indexOf(transport);
            const best = chosen > WEBSOCKET || (chosen === WEBSOCKET && canOpen);
            const level = Math.max(state.level, best ? chosen : STREAM);
            return { url, location, key, state, level };
        }

        /** Return a promise of the delay after which to go on, null for a poll. */
        function carry(subscription, signal) {
            if (alone.has(subscription) && subscription.state === "live") {
                alone.delete(subscription);
            }
            let found;
            try {
                found = find(subscription);
            } catch {
                return null; // It is no URL, as the poll will say.
            }
            // With a new token it is tried again.
            const isAlone = alone.get(subscription) === subscription.url;
            const level = isAlone ? POLL : found.level;
            const transport = TRANSPORTS[level];
            if (subscription.details.transport !== transport) {
                subscription.details = { transport };
                subscription.state = null; // The page is told the transport.
            }
            if (level === POLL) {
                return null;
            }
            return new Promise((resolve) => {
                const entry = { ...found, subscription, resolve, hasLeft: false };
                signal.addEventListener("abort", () => leave(entry));
                entries.add(entry);
                if (subscription.state !== "live") {
                    subscription.setState("connecting");
                }
                plan();
            });
        }

        function leave(entry) {
            entry.hasLeft = true;
            if (entries.delete(entry)) {
                plan();
            }
            for (const connection of [...connections]) {
                if (here(connection).length === 0) {
                    close(connection); // Now: the page may be about to be frozen.
                }
            }
        }

        /** Let a subscription go on by itself, after a delay in milliseconds. */
        function release(entry, delay) {
            if (entries.delete(entry)) {
                entry.hasLeft = true;
                entry.subscription.askedAt = null;
                entry.resolve(delay);
                plan();
            }
        }

        /** Choose the connections, when all that happens now has happened. */
        function plan() {
            planned ??= setTimeout(() => {
                planned = null;
                for (const entry of [...entries]) {
                    Object.assign(entry, find(entry.subscription));
                    if (TRANSPORTS[entry.level] !== entry.subscription.details.transport) {
                        release(entry, 0); // It comes back for another transport.
                    }
                }
                const groups = makeGroups();
                for (const connection of [...connections]) {
                    const same = groups.findIndex((group) => isSame(connection, group));
                    if (same < 0) {
                        close(connection);
                        continue;
                    }
                    const [group] = groups.splice(same, 1);
                    if (connection.location === null) {
                        // It was opened to find its location, and has no other channel.
                        const { location, state, channels } = group;
                        Object.assign(connection, { location, state, channels });
                    }
                }
                groups.forEach(open);
            });
        }

        const isSame = (connection, group) =>
            connection.level === group.level &&
            [null, group.location].includes(connection.location) &&
            connection.entries.length === group.entries.length &&
            connection.entries.every((entry) => group.entries.includes(entry));

        /** Return the entries as groups, each for a connection. */
        function makeGroups() {
            const groups = [];
            const probes = new Map(); // By folder: the entry that finds its location.
            for (const entry of entries) {
                if (entry.location !== null) {
                    const found = groups.find((each) => fits(each, entry));
                    if (found === undefined) {
                        groups.push(startGroup(entry));
                    } else {
                        add(found, entry);
                    }
                } else if (entry.state.solo) {
                    groups.push(startGroup(entry));
                } else if (!probes.has(entry.key) || isConnected(entry)) {
                    probes.set(entry.key, entry);
                }
            }
            return [...groups, ...[...probes.values()].map(startGroup)];
        }

        const isConnected = (entry) =>
            [...connections].some((each) => each.entries.includes(entry));

        function startGroup(entry) {
            const { location, level, subscription } = entry;
            const { credentials } = subscription;
            const base = { location, level, credentials, state: entry.state };
            const group = { ...base, entries: [], channels: [], tokens: [], size: 64 };
            group.size += location ? (location.before + location.after).length : 0;
            add(group, entry);
            return group;
        }

        function fits(group, entry) {
            const { location, level, subscription } = entry;
            const { position, credentials } = subscription;
            if (
                group.location !== location ||
                group.level !== level ||
                group.credentials !== credentials
            ) {
                return false;
            }
            const channel = findChannel(location, entry.url);
            const same = findSame(group, channel);
            if (same !== undefined) {
                // Another name for it. It can only share the stream from one position.
                return same.entries[0].subscription.position.text === position.text;
            }
            const size = group.size + sizeOf(channel, entry);
            return group.channels.length < MAX_CHANNELS && size <= MAX_URL;
        }

        /** Return the channel of a group that a part of a URL names, in any encoding. */
        function findSame({ channels }, channel) {
            const id = decodeChannel(channel);
            return channels.find(
                (each) => each.channel === channel || (id !== null && each.id === id),
            );
        }

        const sizeOf = (channel, { url }) =>
            channel.length + POSITION_LENGTH + 1 + url.search.length;

        function add(group, entry) {
            const { location, url } = entry;
            const channel = location === null ? "" : findChannel(location, url);
            const same = findSame(group, channel);
            group.entries.push(entry);
            if (same !== undefined) {
                same.entries.push(entry);
                return;
            }
            group.channels.push({ channel, id: decodeChannel(channel), entries: [entry] });
            group.tokens.push(...url.searchParams.getAll("token"));
            group.size += sizeOf(channel, entry);
        }

        /** Return whether the page is hidden; null if the server need not know it. */
        const tellVisibility = (all) =>
            attach.markHidden?.(all.map(({ subscription }) => subscription)) ?? null;

        function buildUrl({ location, level, channels, tokens, entries: all }) {
            const [first] = all;
            const url = new URL(first.url.href);
            url.hash = "";
            if (location !== null) {
                const { origin, before, after, separator } = location;
                const joined = channels.map(({ channel }) => channel).join(separator);
                url.href = origin + before + joined + after;
                new Set(tokens).forEach((each) => url.searchParams.append("token", each));
            }
            const ids = channels.map((each) => each.entries[0].subscription.position.text);
            if (level === BATCH) {
                url.searchParams.set("batch", "1");
            }
            if (tellVisibility(all)) {
                url.searchParams.set("hidden", "1");
            }
            // In the query: with a header, browsers would ask other origins first.
            // It replaces that of the page, with which all would come again.
            url.searchParams.set("last_event_id", ids.join(","));
            return url.href;
        }

        function open(group) {
            const connection = {
                ...group,
                controller: new AbortController(),
                openedAt: null,
                isClosed: false,
                isForeign: false,
                retry: RETRY,
                isRetryChanged: false,
                unavailable: null,
                messages: 0,
                gaps: new Map(),
                missing: new Set(),
            };
            connections.add(connection);
            if (connection.level === WEBSOCKET) {
                attach.openSocket(connection, tools);
            } else {
                run(connection);
            }
        }

        /** Close a connection, whose entries have left it or have another one. */
        function close(connection) {
            connection.isClosed = true;
            connections.delete(connection);
            connection.controller.abort();
        }

        /** Return the entries of a connection, or of one of its channels, that remain. */
        const here = ({ entries: all }) => all.filter((entry) => !entry.hasLeft);

        /** Call a function with entries, unless it let the page end them before. */
        function forEachHere(all, fn) {
            all.forEach((entry) => entry.hasLeft || fn(entry));
        }

        async function run(connection) {
            const { level, controller, credentials } = connection;
            const [{ subscription: first, url: firstUrl }] = connection.entries;
            const { signal } = controller;
            const startedAt = Date.now();
            const url = buildUrl(connection);
            const request = { Accept: "text/event-stream" };
            const exchange = { name: first.name, url, request };
            const isBatch = level === BATCH;
            const timer = setTimeout(
                () => {
                    if (isBatch) {
                        here(connection).forEach((each) => each.subscription.setState("live"));
                    } else {
                        fallBack(connection);
                        close(connection);
                    }
                },
                isBatch ? HELD_AFTER : FIRST_BYTES,
            );
            touch(connection);
            first.tell.exchange(exchange);
            try {
                const response = await fetch(url, {
                    headers: request,
                    credentials,
                    cache: "no-store",
                    // Other requests keep a page out of Firefox's back-forward cache.
                    keepalive: IS_FIREFOX && !first.failures,
                    signal,
                });
                if (connection.isClosed) {
                    return;
                }
                const { status, statusText, headers } = response;
                const answered = {
                    ...exchange,
                    ...{ status, statusText, response: Object.fromEntries(headers) },
                };
                const type = headers.get("Content-Type") ?? "";
                if (status === 200 && /^text\/event-stream\b/i.test(type)) {
                    first.tell.exchange(answered);
                    if (connection.location === null) {
                        const found = learn(headers.get("Push-Location"), firstUrl);
                        connection.state.solo = found === null;
                        plan();
                    }
                    await read(connection, response, timer);
                    finish(connection, startedAt, "The stream ended.");
                    return;
                }
                const bytes = new Uint8Array(await response.arrayBuffer());
                const text = readText(bytes, type);
                first.tell.exchange({ ...answered, text });
                if (connection.isClosed) {
                    return;
                }
                // The push server refuses with a sentence. A page of the site means that no
                // location takes these channels together; each may have one of its own.
                const isNoLocation =
                    status === 404 &&
                    connection.channels.length > 1 &&
                    !type.startsWith("text/plain");
                if (isNoLocation || (status < 500 && !FINAL.has(status))) {
                    fallBack(connection, POLL); // The server has no streams.
                } else if (status === 410) {
                    here(connection).forEach((entry) =>
                        release(entry, entry.subscription.handle(response, bytes, text)),
                    );
                } else {
                    waitAll(connection, (each) => each.handle(response, bytes, text));
                }
            } catch (error) {
                if (connection.isClosed) {
                    return;
                }
                if (connection.openedAt === null) {
                    waitAll(connection, (each) => each.retry({ reason: error.message }));
                } else {
                    finish(connection, startedAt, error.message, true);
                }
            } finally {
                clearTimeout(timer);
                // Its entries were released, or are in another connection.
                close(connection);
            }
        }

        /** Show that a connection is alive. */
        function touch(connection) {
            const now = Date.now();
            here(connection).forEach(({ subscription }) => (subscription.askedAt = now));
        }

        async function read(connection, response, timer) {
            const reader = response.body.getReader();
            const decoder = new TextDecoder();
            const parser = new EventParser((event) => {
                if (!connection.isClosed && !connection.isForeign) {
                    receive(connection, event);
                }
            });
            for (;;) {
                const { done, value } = await reader.read();
                if (connection.isClosed || done) {
                    return;
                }
                if (connection.level === STREAM) {
                    clearTimeout(timer);
                }
                touch(connection);
                parser.feed(decoder.decode(value, { stream: true }));
                if (connection.isForeign) {
                    return;
                }
            }
        }

        function receive(connection, event) {
            const { id, data, retry } = event;
            const isOurs = id !== undefined || (event.event ?? "").startsWith("push-");
            if (connection.openedAt === null) {
                if (!isOurs) {
                    // Nchan's streams have no gaps and do not name their channels.
                    connection.isForeign = true;
                    return;
                }
                connection.openedAt = Date.now();
            } else if (retry !== undefined) {
                connection.isRetryChanged = true; // The server stops.
            }
            if (/^\d+$/.test(retry ?? "")) {
                connection.retry = Number(retry);
            }
            const ids = (id ?? "").split(",");
            if (id !== undefined && ids.length !== connection.channels.length) {
                connection.isForeign = true; // The URL has several channels itself.
                return;
            }
            ids.forEach((each, index) => each === "-" && connection.missing.add(index));
            if (data === null) {
                if (id !== undefined) {
                    succeed(connection);
                }
                return;
            }
            if ((event.event ?? "").startsWith("push-")) {
                receiveOwn(connection, event.event, JSON.parse(data));
                return;
            }
            const bracketed = ids.findIndex((each) => each.startsWith("["));
            const index = Math.max(bracketed, 0);
            const { "content-type": type = null, event: name = null } = event;
            const bytes = readBytes(data, type);
            const messageId = ids[index].replace(/^\[|\]$/g, "");
            const { exclude } = event;
            deliver(connection, index, { id: messageId, type, bytes, event: name, exclude });
        }

        function succeed({ channels, missing }) {
            const found = channels.filter((_, index) => !missing.has(index));
            forEachHere(found.flatMap(here), ({ subscription }) => subscription.succeed());
        }

        /** Receive an event of the server itself. */
        function receiveOwn(connection, name, { channel, missed, retry_after: delay }) {
            const isOne = connection.channels.length === 1;
            const found = connection.channels.findIndex(({ id }) => isOne || id === channel);
            if (name === "push-unavailable") {
                connection.unavailable = Number(delay) || 0;
            } else if (name === "push-gap") {
                connection.gaps.set(found, missed);
            } else if (found >= 0) {
                refuse(connection, found, name);
            }
        }

        /** Let the subscriptions of a channel go on without the stream. */
        function refuse(connection, index, name) {
            const isGone = name === "push-gone" && !connection.missing.has(index);
            const [status, reason] = REFUSALS[name] ?? [];
            if (reason === undefined) {
                return; // It is of a newer server.
            }
            forEachHere(here(connection.channels[index]), (entry) => {
                const { subscription } = entry;
                // The stream goes on for the others.
                connection.entries = connection.entries.filter((each) => each !== entry);
                if (isGone) {
                    subscription.tell.gone(); // First: the page may subscribe again.
                    const deleted = "The channel was deleted.";
                    subscription.setState("gone", { status: 410, reason: deleted });
                } else {
                    alone.set(subscription, subscription.url);
                    release(entry, subscription.retrySlowly({ status, reason }));
                }
            });
        }

        function deliver(connection, index, { id: idText, type, event, exclude, bytes }) {
            const id = parseId(idText);
            const headers = new Map([
                ["Content-Type", type],
                ["Event", event],
                ["Push-Exclude", exclude ?? null],
                ["Push-Gap", connection.gaps.get(index) ?? null],
            ]);
            connection.gaps.delete(index);
            forEachHere(here(connection.channels[index]), ({ subscription }) => {
                if (!subscription.seen.has(id.text)) {
                    connection.messages += 1;
                    subscription.deliver(id, headers, bytes, readText(bytes, type));
                }
            });
        }

        /** Go on after the end of a response. */
        function finish(connection, startedAt, reason, hasFailed = false) {
            const { state, unavailable, retry, openedAt } = connection;
            if (connection.isClosed) {
                return;
            }
            if (connection.isForeign) {
                fallBack(connection, POLL);
            } else if (unavailable !== null) {
                const delay = unavailable * 1000 + Math.random() * 1000;
                waitAll(connection, (each) => {
                    each.bound = true;
                    return each.wait(delay, { reason: "The server is unavailable." });
                });
            } else if (connection.level === BATCH && !hasFailed) {
                succeed(connection);
                const isQuick = !connection.messages && Date.now() - startedAt < QUICK;
                here(connection).forEach((entry) => release(entry, isQuick ? 1000 : 0));
            } else {
                const lasted = openedAt === null ? 0 : Date.now() - openedAt;
                const isShort = lasted < SHORT && !connection.isRetryChanged;
                state.short = isShort ? state.short + 1 : 0;
                state.tries = lasted > TRY_AGAIN.first ? 0 : state.tries;
                if (state.short >= MAX_SHORT) {
                    fallBack(connection);
                } else if (isShort || hasFailed || connection.isRetryChanged) {
                    waitAll(connection, (each) => each.wait(retry, { reason }));
                } else {
                    // Streams end after a while; the page need not know.
                    here(connection).forEach((entry) => release(entry, retry));
                }
            }
        }

        /** Let all subscriptions of a connection wait for the same time. */
        function waitAll(connection, decide) {
            const [first, ...others] = here(connection);
            if (first === undefined) {
                return;
            }
            const delay = decide(first.subscription);
            const { failures, bound, detail } = first.subscription;
            release(first, delay);
            forEachHere(others, (entry) => {
                Object.assign(entry.subscription, { failures, bound });
                entry.subscription.wait(delay, detail);
                release(entry, delay);
            });
        }

        /** Return the transport to use where that of a connection does not work. */
        function findNext({ level, location }) {
            if (level === WEBSOCKET) {
                return STREAM;
            }
            return level === STREAM && location !== null ? BATCH : POLL;
        }

        /** Use another transport for a while. */
        function fallBack(connection, level = findNext(connection)) {
            const { state } = connection;
            const { first, most } = TRY_AGAIN;
            state.level = level;
            state.until = Date.now() + Math.min(first * 2 ** state.tries, most);
            state.tries += 1;
            state.short = 0;
            here(connection).forEach((entry) => release(entry, 0));
        }

        /** Learn the location from the answer to a poll. */
        function heed({ url, response }) {
            const text = response?.["push-location"];
            if (text) {
                learn(text, resolveUrl(url));
            }
        }

        const tools = {
            ...{ buildUrl, here, touch, close, release, succeed, refuse, deliver },
            ...{ finish, waitAll, fallBack, tellVisibility },
        };
        return Object.assign(carry, { heed });
    }

    const ATTACHED = Symbol.for("updates.streams.js");

    /** Let the subscriptions of an `updates` use streams. */
    function attach(updates) {
        if (updates[ATTACHED]) {
            return; // The file is on the page twice.
        }
        // For the files that are loaded after this one.
        updates[ATTACHED] = Object.assign(attach, { mayBeText });
        updates.carryBy((parts) => {
            const carry = createCarrier(parts);
            updates.onExchange(carry.heed);
            if (updates === globalThis.updates && typeof document !== "undefined") {
                parts.whenParsed().then(() => subscribeForPage(updates));
            }
            return carry;
        });
    }

    /** Subscribe to the channels that {% push_channels %} has written into the page. */
    function subscribeForPage(updates) {
        const tags = 'script[type="application/json"][data-push-channels]';
        for (const { textContent } of document.querySelectorAll(tags)) {
            updates.subscribe(JSON.parse(textContent));
        }
    }

    if (typeof globalThis.updates?.carryBy === "function") {
        attach(globalThis.updates);
    } else {
        console.error("updates.streams.js needs updates.js of the same version before it.");
    }

    // For tests.
    if (typeof module === "object" && module.exports) {
        module.exports = { attach, EventParser, findChannel, readBytes, readLocation };
    }
})();
