/*! updates.websocket.js of django-pushserver, BSD-3-Clause
 *
 *     updates.subscribe({news: {url: "/updates/news", transport: "websocket"}});
 *
 * Adds the transport "websocket" to updates.streams.js: all channels of a location that
 * choose it share one WebSocket. Where WebSockets do not work, a stream is used.
 *
 * A classic script that also runs as a module, after updates.streams.js.
 */
(function () {
    "use strict";

    const PROTOCOL = "ws+meta.pushserver";

    /** Milliseconds in which the first frame has to arrive. */
    const FIRST_FRAME = 3 * 1000;
    /** Milliseconds between two questions whether the connection is alive. */
    const PING = 30 * 1000;
    /** The number of refused connections in a row after which a stream is used. */
    const MAX_REFUSED = 5;
    /** The most milliseconds to wait after an end that is no fault. */
    const RETURN = 1000;

    const STREAMS = Symbol.for("updates.streams.js");

    // Close codes: those of HTTP statuses are 4000 and the status.
    const DELETED = 4410;
    const REFUSED = new Set([4401, 4403, 4404, 4409, 4429]);
    const BAD_REQUEST = 4400;
    /** The client was too slow, or the connection was open for long. */
    const RECONNECT = 4408;
    /** The server stops, or its store is unavailable; the others are of servers. */
    const UNAVAILABLE = new Set([4503, 1001, 1012, 1013]);

    const REASONS = {
        4401: "The permission to read the channel has expired.",
        4403: "The channel may not be read.",
        4404: "There is no such channel.",
        4409: "Another subscriber took this one's place.",
        4429: "There are too many subscribers.",
    };

    /** Return the fields and the body of a frame, null if it has none. */
    function parseFrame(data) {
        const isText = typeof data === "string";
        const bytes = isText ? null : new Uint8Array(data);
        const end = isText ? data.indexOf("\n\n") : findEnd(bytes);
        if (end < 0) {
            return null;
        }
        const head = isText
            ? data.slice(0, end)
            : new TextDecoder().decode(bytes.subarray(0, end));
        const fields = {};
        for (const line of head.split("\n")) {
            const colon = line.indexOf(": ");
            fields[line.slice(0, colon)] = line.slice(colon + 2);
        }
        const body = isText
            ? new TextEncoder().encode(data.slice(end + 2))
            : bytes.slice(end + 2);
        return { fields, body };
    }

    /** Return the index of the first empty line, -1 if there is none. */
    function findEnd(bytes) {
        let end = -1;
        do {
            end = bytes.indexOf(10, end + 1);
        } while (end >= 0 && bytes[end + 1] !== 10);
        return end;
    }

    /** Open a WebSocket for a connection of updates.streams.js, whose functions it uses. */
    function openSocket(connection, tools) {
        const { channels, controller, entries, state } = connection;
        const [{ subscription: first }] = entries;
        const startedAt = Date.now();
        const url = new URL(tools.buildUrl(connection));
        url.protocol = url.protocol.replace("http", "ws");
        const request = { "Sec-WebSocket-Protocol": PROTOCOL };
        const exchange = { name: first.name, url: url.href, request };
        connection.retry = RETURN + Math.random() * RETURN;
        tools.touch(connection);
        first.tell.exchange(exchange);
        let socket;
        try {
            socket = new WebSocket(url.href, [PROTOCOL]);
        } catch {
            // For example a page that is secure may open no insecure socket.
            end(() => tools.fallBack(connection));
            return;
        }
        socket.binaryType = "arraybuffer";
        const timer = setTimeout(() => end(() => tools.fallBack(connection)), FIRST_FRAME);
        const pinging = setInterval(() => socket.readyState === 1 && socket.send("ping"), PING);
        globalThis.document?.addEventListener("visibilitychange", tellVisibility);
        controller.signal.addEventListener("abort", () => {
            clearTimeout(timer);
            clearInterval(pinging);
            globalThis.document?.removeEventListener("visibilitychange", tellVisibility);
            socket.close();
        });
        socket.onopen = () =>
            first.tell.exchange({ ...exchange, status: 101, statusText: "", response: {} });
        socket.onmessage = ({ data }) => {
            if (connection.isClosed) {
                return;
            }
            tools.touch(connection);
            const frame = data === "pong" ? null : parseFrame(data);
            if (frame === null) {
                return;
            }
            if (connection.openedAt === null) {
                clearTimeout(timer);
                begin(frame.fields);
            } else {
                try {
                    receive(frame.fields, frame.body);
                } catch (error) {
                    // What cannot be read is requested again, as on a stream.
                    end(() => tools.finish(connection, startedAt, error.message, true));
                }
            }
        };
        socket.onclose = ({ code, reason }) => end(() => finish(code, reason));

        /** Tell whether the page is hidden, if the page has updates.presence.js. */
        function tellVisibility() {
            const hidden = tools.tellVisibility(tools.here(connection));
            if (hidden !== null && socket.readyState === 1) {
                socket.send(hidden ? "hidden" : "visible");
            }
        }

        /** Let the subscriptions go on without this connection. */
        function end(goOn) {
            if (!connection.isClosed) {
                goOn();
                tools.close(connection);
            }
        }

        /** Receive the position, which is the first frame. */
        function begin({ id = "" }) {
            const ids = id.split(",");
            const isOne = ids.length === channels.length || connection.location === null;
            if (id === "" || !isOne) {
                end(() => tools.fallBack(connection));
                return;
            }
            connection.openedAt = Date.now();
            state.refused = 0;
            ids.forEach((each, index) => each === "-" && connection.missing.add(index));
            tools.succeed(connection);
        }

        function receive(fields, bytes) {
            const { channel, id, event = null, exclude, "content-type": type = null } = fields;
            const index =
                channel === undefined
                    ? 0
                    : connection.channels.findIndex(
                          (each) => each.id === decodeURIComponent(channel),
                      );
            if (index < 0) {
                return;
            }
            if (id === undefined) {
                tools.refuse(connection, index, event); // It has only the event's name.
                return;
            }
            if (fields["push-gap"] !== undefined) {
                connection.gaps.set(index, fields["push-gap"]);
            }
            tools.deliver(connection, index, { id, type, event, exclude, bytes });
        }

        function finish(code, text) {
            const status = code - 4000;
            const reason = text || REASONS[code] || "The WebSocket was closed.";
            if (code === DELETED) {
                connection.channels.forEach((_, index) =>
                    tools.refuse(connection, index, "push-gone"),
                );
            } else if (REFUSED.has(code)) {
                tools.waitAll(connection, (each) => each.retrySlowly({ status, reason }));
            } else if (code === BAD_REQUEST) {
                tools.fallBack(connection);
            } else if (code === RECONNECT) {
                // The page need not know.
                const delay = Math.random() * RETURN;
                tools.here(connection).forEach((entry) => tools.release(entry, delay));
            } else if (UNAVAILABLE.has(code)) {
                tools.waitAll(connection, (each) => each.retry({ reason }));
            } else if (connection.openedAt !== null) {
                tools.finish(connection, startedAt, reason, true);
            } else if (state.refused === undefined || state.refused >= MAX_REFUSED) {
                // Nothing says whether the server has WebSockets. A stream will tell.
                state.refused = undefined;
                tools.fallBack(connection);
            } else {
                state.refused += 1;
                tools.waitAll(connection, (each) => each.retry({ reason }));
            }
        }
    }

    /** Let the streams of an `updates` use WebSockets. */
    function attach(updates) {
        updates[STREAMS].openSocket = openSocket;
    }

    if (typeof globalThis.updates?.[STREAMS] === "function") {
        attach(globalThis.updates);
    } else {
        console.error("updates.websocket.js needs updates.streams.js before it.");
    }

    // For tests.
    if (typeof module === "object" && module.exports) {
        module.exports = { attach, parseFrame };
    }
})();
