// An object like an EventSource, on the connection of the other channels.

import assert from "node:assert/strict";
import { test } from "node:test";

import client from "../../pushserver/static/pushserver/updates.js";
import streams from "../../pushserver/static/pushserver/updates.streams.js";
import eventsource from "../../pushserver/static/pushserver/updates.eventsource.js";
import { TIME, useClock, useConsole, useServer } from "./stage.mjs";
import { event, head, LOCATION, paths, stream } from "./streams_stage.mjs";

/** Set the stage: a clock, a server with a stream, and a source that hears it. */
async function play(t, url = "/updates/a", options = {}) {
    const clock = useClock(t);
    const open = stream();
    const server = useServer(t, open.response);
    const updates = client.createUpdates();
    streams.attach(updates);
    eventsource.attach(updates);
    const got = [];
    const source = updates.eventSource(url, { location: LOCATION, ...options });
    for (const type of ["open", "message", "error", "story", "push-gap"]) {
        source.addEventListener(type, ({ data, lastEventId }) =>
            got.push([type, data, lastEventId].filter((each) => each !== undefined)),
        );
    }
    t.after(() => updates.close());
    await clock.pass(1);
    await clock.pass(1);
    return { clock, server, updates, open, source, got };
}

const START = "0:0";
const id = (tag) => `${TIME}:${tag}`;
const field = (name, text, tag = 1) => `${name}id: ${id(tag)}\ndata: ${text}\n\n`;

test("it has the properties of an EventSource", async (t) => {
    const { source, open, clock, updates } = await play(t);
    assert.deepEqual([source.CONNECTING, source.OPEN, source.CLOSED], [0, 1, 2]);
    assert.equal(source.constructor.CLOSED, 2);
    assert.equal(source.url, "http://localhost/updates/a");
    assert.equal(source.withCredentials, false);
    assert.equal(source.readyState, 0);
    open.send(head(START));
    await clock.settle();
    assert.equal(source.readyState, 1);
    source.close();
    assert.equal(source.readyState, 2);
    const other = updates.eventSource("/updates/b", { withCredentials: true });
    assert.equal(other.withCredentials, true);
});

test("messages are events, with their names and ids", async (t) => {
    const { clock, open, got } = await play(t);
    open.send(head(START) + field("", "one\ndata: two") + field("event: story\n", "three", 2));
    await clock.settle();
    assert.deepEqual(got, [
        ["open"],
        ["message", "one\ntwo", id(1)],
        ["story", "three", id(2)],
    ]);
});

test("the names of closed objects are used again", async (t) => {
    const { updates } = await play(t);
    const names = new Set();
    const subscribe = t.mock.method(updates, "subscribe");
    for (let turn = 0; turn < 5; turn += 1) {
        const source = updates.eventSource("/updates/b,c");
        Object.keys(subscribe.mock.calls.at(-1).arguments[0]).forEach((each) => names.add(each));
        source.close();
        source.close();
    }
    assert.equal(names.size, 2);
});

test("functions are properties, which can be replaced", async (t) => {
    const { clock, open, source } = await play(t);
    const calls = [];
    assert.equal(source.onmessage, null);
    source.onmessage = () => calls.push("replaced");
    const onmessage = function ({ data }) {
        calls.push([this === source, data]);
    };
    source.onmessage = onmessage;
    assert.equal(source.onmessage, onmessage);
    source.onopen = () => calls.push("open");
    open.send(head(START) + field("", "one"));
    await clock.settle();
    source.onmessage = null;
    open.send(field("", "two", 2));
    await clock.settle();
    assert.deepEqual(calls, ["open", [true, "one"]]);
});

test("bytes are a data: URL, as on the wire", async (t) => {
    const { clock, open, got } = await play(t);
    const data = "data:image/png;base64,AP8=";
    open.send(head(START) + field("content-type: image/png\n", data));
    await clock.settle();
    assert.deepEqual(got.at(-1), ["message", data, id(1)]);
});

test("it is told that the connection broke, and goes on by itself", async (t) => {
    const { clock, server, open, source, got } = await play(t);
    open.send(head(START) + field("", "one"));
    await clock.settle();
    const again = stream();
    server.answers.push(again.response);
    open.fail();
    await clock.settle();
    assert.deepEqual([got.at(-1), source.readyState], [["error"], 0]);
    await clock.pass(3000);
    assert.equal(paths(server).at(-1), `/updates/a?last_event_id=${id(1)}`);
    again.send(head(id(1)) + field("", "two", 2));
    await clock.settle();
    assert.deepEqual(got.slice(-2), [["open"], ["message", "two", id(2)]]);
});

test("a refusal is an error, and tried again", async (t) => {
    useConsole(t, "warn");
    const { clock, open, source, got } = await play(t);
    open.send(head(START) + 'event: push-denied\ndata: {"channel": "a"}\n\n');
    await clock.settle();
    assert.deepEqual([got.at(-1), source.readyState], [["error"], 0]);
});

test("it is closed by the deletion of its channel, and then says so", async (t) => {
    const { clock, server, open, source, got } = await play(t);
    open.send(`${head(START)}event: push-gone\ndata: {"channel": "a"}\n\n`);
    await clock.settle();
    assert.deepEqual([got.at(-1), source.readyState], [["error"], 2]);
    await clock.pass(60_000);
    assert.equal(server.requests.length, 1);
});

test("lost messages are an event of their own", async (t) => {
    const { clock, open, got } = await play(t);
    open.send(head(START));
    open.send(`event: push-gap\ndata: {"channel": "a", "missed": "${id(4)}"}\n\n`);
    open.send(field("", "five", 5));
    await clock.settle();
    const gap = JSON.stringify({ missed: id(4) });
    assert.deepEqual(got.slice(1), [["push-gap", gap, ""], ["message", "five", id(5)]]);
});

test("a closed one hears nothing, and leaves the connection to the others", async (t) => {
    const { clock, server, updates, source, open, got } = await play(t);
    updates.subscribe({ b: { url: "/updates/b", location: LOCATION } });
    await clock.pass(2);
    const both = `/updates/a,b?last_event_id=${START},${START}`;
    assert.equal(paths(server).at(-1), both);
    source.close();
    source.close();
    await clock.pass(2);
    assert.equal(paths(server).at(-1), `/updates/b?last_event_id=${START}`);
    open.send(head(START) + field("", "one"));
    await clock.settle();
    assert.deepEqual(got, []);
});

test("several channels in a URL are events of one source", async (t) => {
    const url = `/updates/a,b?last_event_id=[${id(1)}],-`;
    const { clock, server, source, open, got } = await play(t, url);
    assert.deepEqual(paths(server), [`/updates/a,b?last_event_id=${id(1)},${START}`]);
    open.send(head(`${id(1)},${START}`) + event(`${id(1)},[${id(3)}]`, "b", "three"));
    open.send(event(`[${id(4)}],${id(3)}`, "a", "four"));
    await clock.settle();
    assert.deepEqual(got, [
        ["open"],
        ["message", '"three"', id(3)],
        ["message", '"four"', id(4)],
    ]);
    open.send('event: push-gone\ndata: {"channel": "a"}\n\n');
    await clock.settle();
    assert.equal(source.readyState, 1, "the other channel goes on");
});

for (const [position, count] of [["newest", 1], ["1:2", 2], ["x", 1]]) {
    test(`the position ${position} of ${count} channels is refused`, () => {
        const updates = client.createUpdates();
        streams.attach(updates);
        eventsource.attach(updates);
        const url = `/updates/${["a", "b"].slice(0, count).join()}?last_event_id=${position}`;
        assert.throws(() => updates.eventSource(url), TypeError);
    });
}

test("cookies are sent to another origin only if the page says so", async (t) => {
    const { server } = await play(t, "https://other.example/updates/a");
    assert.equal(server.requests[0].credentials, "same-origin");
});

test("two of one channel are independent", async (t) => {
    const { updates, source } = await play(t);
    const other = updates.eventSource("/updates/a", { location: LOCATION });
    other.close();
    assert.deepEqual([source.readyState, other.readyState], [0, 2]);
});
