// The transport "websocket": its frames, its close codes, and where it falls back.

import assert from "node:assert/strict";
import { test } from "node:test";

import client from "../../pushserver/static/pushserver/updates.js";
import streams from "../../pushserver/static/pushserver/updates.streams.js";
import websocket from "../../pushserver/static/pushserver/updates.websocket.js";
import { TIME, useClock, useConsole, useRandom, useServer } from "./stage.mjs";
import { head, last, LOCATION, paths, stream } from "./streams_stage.mjs";

const START = "0:0";
const id = (tag) => `${TIME}:${tag}`;

/** Replace WebSocket by one whose server is the test; return the sockets. */
function useSockets(t) {
    const real = globalThis.WebSocket;
    const sockets = [];
    globalThis.WebSocket = class {
        constructor(url, protocols) {
            Object.assign(this, { url, protocols, readyState: 0, sent: [] });
            sockets.push(this);
        }

        send(text) {
            this.sent.push(text);
        }

        close() {
            this.readyState = 3;
        }

        /** Accept the socket and send the position. */
        accept(position) {
            this.readyState = 1;
            this.onopen();
            this.tell(`id: ${position}\n\n`);
        }

        tell(data) {
            this.onmessage({ data });
        }

        end(code, reason = "") {
            this.readyState = 3;
            this.onclose({ code, reason });
        }
    };
    t.after(() => (globalThis.WebSocket = real));
    return sockets;
}

/** Set the stage: a clock, sockets, and a client that subscribed to channels. */
async function play(t, ids, options = {}) {
    const clock = useClock(t);
    const sockets = useSockets(t);
    const open = stream();
    const server = useServer(t, open.response);
    const updates = client.createUpdates();
    streams.attach(updates);
    websocket.attach(updates);
    const got = [];
    const gaps = [];
    const states = [];
    const exchanges = [];
    const channels = {};
    for (const name of ids) {
        const url = `/updates/${encodeURIComponent(name)}`;
        channels[name] = { url, location: LOCATION, transport: "websocket", ...options };
        updates.on(name, ({ data, event }) => got.push([name, data, event]));
        updates.onGap(name, (missed) => gaps.push([name, missed, got.length]));
    }
    updates.onState((state, name, detail) => states.push([name, state, detail]));
    updates.onExchange((exchange) => exchanges.push(exchange));
    updates.subscribe(channels);
    t.after(() => updates.close());
    await clock.pass(1);
    await clock.pass(1);
    return { clock, sockets, server, open, updates, got, gaps, states, exchanges };
}

const asked = (sockets) => sockets.map(({ url }) => decodeURIComponent(url));

test("all channels of a location use one WebSocket", async (t) => {
    const { sockets, server, states, exchanges } = await play(t, ["a", "b"]);
    assert.deepEqual(asked(sockets), [
        `ws://localhost/updates/a,b?last_event_id=${START},${START}`,
    ]);
    assert.deepEqual(sockets[0].protocols, ["ws+meta.pushserver"]);
    sockets[0].accept("0:0,0:0");
    assert.deepEqual(last(states, "b"), ["b", "live", { transport: "websocket" }]);
    assert.equal(server.requests.length, 0);
    assert.deepEqual(
        exchanges.map(({ url, status }) => [url, status]),
        [[sockets[0].url, undefined], [sockets[0].url, 101]],
    );
});

test("frames are messages, with their channels, events and gaps", async (t) => {
    const { clock, sockets, got, gaps } = await play(t, ["a", "user/7"]);
    const [socket] = sockets;
    socket.accept("0:0,0:0");
    socket.tell(`channel: user%2F7\nid: ${id(1)}\ncontent-type: text/plain\n\none\n\ntwo`);
    socket.tell(`channel: a\nid: ${id(2)}\nevent: story\npush-gap: ${id(1)}\n\n{"x": 1}`);
    const bytes = new TextEncoder().encode(`channel: a\nid: ${id(3)}\n\n\u0000x`);
    socket.tell(bytes.buffer);
    socket.tell(`channel: a\nid: ${id(3)}\n\nagain`);
    socket.tell("pong");
    assert.deepEqual(got, [
        ["user/7", "one\n\ntwo", null],
        ["a", { x: 1 }, "story"],
        ["a", "\u0000x", null],
    ]);
    assert.deepEqual(gaps, [["a", id(1), 1]]);
    socket.end(1006);
    await clock.pass(3000);
    assert.match(asked(sockets).at(-1), new RegExp(`last_event_id=${id(3)},${id(1)}$`));
});

test("frames of one channel do not name it", async (t) => {
    const { sockets, got } = await play(t, ["a"]);
    sockets[0].accept(START);
    sockets[0].tell(`id: ${id(1)}\n\n`);
    sockets[0].tell(`id: ${id(2)}\ncontent-type: application/json\n\n[2]`);
    assert.deepEqual(got, [["a", "", null], ["a", [2], null]]);
});

test("the connection is examined, and opened anew if it is silent", async (t) => {
    const { clock, sockets } = await play(t, ["a"]);
    const [socket] = sockets;
    socket.accept(START);
    for (let time = 0; time < 10; time += 1) {
        await clock.pass(30_000);
        socket.tell("pong");
    }
    assert.equal(sockets.length, 1);
    assert.deepEqual(new Set(socket.sent), new Set(["ping"]));
    await clock.pass(125_000);
    assert.equal(sockets.length, 2);
    assert.equal(socket.readyState, 3);
});

// How it ends

for (const status of [401, 403, 404, 409, 429]) {
    test(`${4000 + status} is told as ${status} and tried again slowly`, async (t) => {
        useConsole(t, "warn");
        useRandom(t, 0);
        const { clock, sockets, states } = await play(t, ["a", "b"]);
        sockets[0].end(4000 + status, "No.");
        for (const name of ["a", "b"]) {
            const [, state, detail] = last(states, name);
            assert.equal(state, "waiting");
            assert.deepEqual([detail.status, detail.reason], [status, "No."]);
        }
        await clock.pass(14_000);
        assert.equal(sockets.length, 1);
        await clock.pass(2000);
        assert.equal(sockets.length, 2);
    });
}

test("a deleted channel is gone, and so are all at 4410", async (t) => {
    const { clock, sockets, states, got } = await play(t, ["a", "b"]);
    sockets[0].accept("0:0,0:0");
    sockets[0].tell("channel: a\nevent: push-gone\n\n");
    sockets[0].tell(`channel: b\nid: ${id(1)}\n\nhello`);
    assert.equal(last(states, "a")[1], "gone");
    assert.deepEqual(got, [["b", "hello", null]]);
    sockets[0].end(4410);
    assert.equal(last(states, "b")[1], "gone");
    assert.equal(last(states, "b")[2].status, 410);
    await clock.pass(60_000);
    assert.equal(sockets.length, 1);
});

test("a channel that may not be read is polled alone, and the others go on", async (t) => {
    useConsole(t, "warn");
    const { sockets, states } = await play(t, ["a", "b"]);
    sockets[0].accept("0:0,0:0");
    sockets[0].tell("channel: a\nevent: push-denied\n\n");
    assert.equal(last(states, "a")[2].status, 403);
    assert.equal(last(states, "b")[1], "live");
});

test("4408 is no fault: the page is not told, and comes back with its id", async (t) => {
    const { clock, sockets, states } = await play(t, ["a"]);
    sockets[0].accept(START);
    sockets[0].tell(`id: ${id(1)}\n\none`);
    sockets[0].end(4408);
    await clock.pass(1005);
    assert.deepEqual(asked(sockets).at(-1), `ws://localhost/updates/a?last_event_id=${id(1)}`);
    assert.equal(last(states, "a")[1], "live");
});

for (const code of [4503, 1012, 1001]) {
    test(`after ${code} it comes back, with doubling waits`, async (t) => {
        useRandom(t, 1);
        const { clock, sockets, states } = await play(t, ["a"]);
        sockets[0].end(code);
        assert.equal(last(states, "a")[1], "waiting");
        await clock.pass(1005);
        sockets[1].end(code);
        await clock.pass(1990);
        assert.equal(sockets.length, 2);
        await clock.pass(20);
        assert.equal(sockets.length, 3);
    });
}

// Where it falls back

test("a server without WebSockets is asked for a stream, and later again", async (t) => {
    const { clock, server, sockets, open, states } = await play(t, ["a", "b"]);
    sockets[0].end(1006);
    await clock.pass(2);
    assert.deepEqual(paths(server), [`/updates/a,b?last_event_id=${START},${START}`]);
    open.send(head("0:0,0:0"));
    await clock.pass(31_000);
    assert.deepEqual(last(states, "a"), ["a", "live", { transport: "stream" }]);
    open.end();
    await clock.pass(2005);
    assert.equal(sockets.length, 2);
});

test("a server that is away is asked again before a stream is used", async (t) => {
    useRandom(t, 1);
    const { clock, server, sockets } = await play(t, ["a"]);
    sockets[0].accept(START);
    await clock.pass(20_000);
    sockets[0].end(1006);
    for (let count = 2; count <= 7; count += 1) {
        while (sockets.length < count) {
            assert.equal(server.requests.length, 0);
            await clock.pass(500);
        }
        sockets.at(-1).end(1006);
    }
    await clock.pass(2);
    assert.equal(server.requests.length, 1);
});

test("a socket without a frame within 3 seconds becomes a stream", async (t) => {
    const { clock, server, sockets } = await play(t, ["a"]);
    sockets[0].onopen();
    await clock.pass(3005);
    assert.equal(server.requests.length, 1);
    assert.equal(sockets[0].readyState, 3);
});

test("a socket that breaks three times quickly becomes a stream", async (t) => {
    const { clock, server, sockets } = await play(t, ["a"]);
    for (let time = 0; time < 3; time += 1) {
        sockets.at(-1).accept(START);
        sockets.at(-1).end(1006);
        await clock.pass(2005);
    }
    assert.equal(sockets.length, 3);
    assert.equal(server.requests.length, 1);
});

for (const [name, data] of [
    ["no position", "hello\n\nworld"],
    ["positions of other channels", "id: 0:0,0:0\n\n"],
]) {
    test(`a first frame with ${name} makes the socket a stream`, async (t) => {
        const { clock, sockets, server } = await play(t, ["a"]);
        sockets[0].readyState = 1;
        sockets[0].tell(data);
        await clock.pass(1);
        await clock.pass(1);
        assert.deepEqual(paths(server), [`/updates/a?last_event_id=${START}`]);
    });
}

test("what a frame of a newer server tells is ignored", async (t) => {
    const { clock, sockets, got } = await play(t, ["a", "b"]);
    sockets[0].accept("0:0,0:0");
    sockets[0].tell("channel: a\nevent: push-news\n\n");
    sockets[0].tell(`channel: a\nid: ${id(1)}\n\n1`);
    await clock.settle();
    assert.deepEqual(got, [["a", "1", null]]);
});

test("a frame that cannot be read is requested again", async (t) => {
    const { clock, sockets, got } = await play(t, ["a"]);
    sockets[0].accept("0:0");
    sockets[0].tell(`id: ${id(1)}\n\n1`);
    sockets[0].tell("id: 1-2\n\n2");
    await clock.pass(5_000);
    assert.deepEqual(asked(sockets).slice(1), [
        `ws://localhost/updates/a?last_event_id=${id(1)}`,
    ]);
    assert.deepEqual(got, [["a", "1", null]]);
});

test("a browser that refuses the socket uses a stream", async (t) => {
    const { clock, server, updates } = await play(t, []);
    globalThis.WebSocket = class {
        constructor() {
            throw new DOMException("insecure", "SecurityError");
        }
    };
    const channel = { url: "/updates/a", location: LOCATION, transport: "websocket" };
    updates.subscribe({ a: channel });
    await clock.pass(5);
    assert.equal(server.requests.length, 1);
});

test("a location that is not known is found by a stream first", async (t) => {
    const { clock, server, sockets } = await play(t, ["a", "b"], { location: null });
    await clock.pass(5);
    assert.equal(server.requests.length, 1);
    assert.ok(server.requests[0].signal.aborted);
    assert.deepEqual(asked(sockets), [
        `ws://localhost/updates/a,b?last_event_id=${START},${START}`,
    ]);
});

test("an end of all subscriptions closes the socket at once", async (t) => {
    const { sockets, updates } = await play(t, ["a", "b"]);
    sockets[0].accept("0:0,0:0");
    updates.close();
    assert.equal(sockets[0].readyState, 3);
});
