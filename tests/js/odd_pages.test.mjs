// What streams do for pages that name channels oddly, or unsubscribe at odd moments.

import assert from "node:assert/strict";
import { test } from "node:test";

import { message, status, TIME, useConsole } from "./stage.mjs";
import { event, head, last, listen, LOCATION, paths, play, stream } from "./streams_stage.mjs";

const START = "0:0";

test("a channel in two encodings is on the stream once", async (t) => {
    const open = stream();
    const channels = {
        one: { url: "/updates/a%3Ab", location: LOCATION },
        other: { url: "/updates/a:b", location: LOCATION },
    };
    const { clock, server, got } = await play(t, channels, open.response);
    open.send(head(START) + event(`${TIME}:1`, "a:b", 1));
    await clock.settle();
    assert.deepEqual(paths(server), ["/updates/a:b?last_event_id=0:0"]);
    assert.deepEqual(got, [
        ["one", 1],
        ["other", 1],
    ]);
});

test("a position in the URL of a channel is replaced by that of the client", async (t) => {
    const [open, next] = [stream({}), stream({})];
    const channels = { a: { url: "/updates/a?last_event_id=0:0&x=1", after: `${TIME}:1` } };
    const { clock, server } = await play(t, channels, open.response, next.response);
    open.send(head(`${TIME}:1`) + event(`${TIME}:2`, "a", 1));
    await clock.pass(60_000);
    open.end();
    await clock.pass(2_100);
    assert.deepEqual(paths(server), [
        `/updates/a?last_event_id=${TIME}:1&x=1`,
        `/updates/a?last_event_id=${TIME}:2&x=1`,
    ]);
});

test("who is unsubscribed by another name's function gets nothing more", async (t) => {
    const open = stream();
    const channels = {
        one: { url: "/updates/a", location: LOCATION },
        other: { url: "/updates/a", location: LOCATION },
    };
    const { clock, updates, got, states } = await play(t, channels, open.response);
    updates.on("one", () => updates.unsubscribe("other"));
    open.send(head(START) + event(`${TIME}:1`, "a", 1));
    await clock.settle();
    assert.deepEqual(got, [["one", 1]]);
    states.length = 0;
    open.fail();
    await clock.settle();
    assert.equal(last(states, "other"), undefined);
});

test("who is unsubscribed by a function for states is told no state", async (t) => {
    const { clock, updates, states, open } = await listen(t, ["a", "b"]);
    open.send(head(`${START},${START}`));
    await clock.settle();
    updates.onState((state) => state === "waiting" && updates.unsubscribe("b"));
    states.length = 0;
    open.fail();
    await clock.settle();
    assert.equal(last(states, "a")[1], "waiting");
    assert.equal(last(states, "b"), undefined);
});

test("channels that no location takes together are polled each by itself", async (t) => {
    const html = { "Content-Type": "text/html; charset=utf-8" };
    const channels = {
        a: { url: "/updates/a", location: LOCATION },
        b: { url: "/updates/b", location: LOCATION },
    };
    const answers = [status(404, html, "<h1>Not Found</h1>"), message(1, "one")];
    const { clock, server, got } = await play(t, channels, ...answers);
    await clock.pass(5);
    assert.deepEqual(paths(server).slice(1, 3), ["/updates/a", "/updates/b"]);
    assert.deepEqual(got, [["a", "one"]]);
});

test("channels that do not exist are told so together", async (t) => {
    useConsole(t, "warn");
    const channels = {
        a: { url: "/updates/a", location: LOCATION },
        b: { url: "/updates/b", location: LOCATION },
    };
    const answer = status(404, { "Content-Type": "text/plain" }, "No.");
    const { clock, server, states } = await play(t, channels, answer);
    await clock.pass(5);
    assert.deepEqual([last(states, "a")[2].status, last(states, "b")[2].status], [404, 404]);
    assert.equal(server.requests.length, 1);
});

test("batches that repeat a message are requested once a second", async (t) => {
    const batch = () =>
        new Response(head(`${TIME}:1`) + event(`${TIME}:1`, "a", 1), {
            headers: { "Content-Type": "text/event-stream", "Push-Location": LOCATION },
        });
    const channels = { a: { url: "/updates/a", transport: "batch", after: `${TIME}:1` } };
    const answers = Array.from({ length: 100 }, batch);
    const { clock, server, got } = await play(t, channels, ...answers);
    await clock.pass(5_000);
    assert.ok(server.requests.length < 10, String(server.requests.length));
    assert.deepEqual(got, []);
});

test("who unsubscribes while it is told the state can subscribe again", async (t) => {
    const again = stream();
    const { clock, updates, got, open } = await listen(t, ["a"]);
    open.send(head(START));
    let undo = updates.unsubscribe("a");
    let count = 0;
    updates.onState(() => {
        count += 1;
        if (count === 1) {
            undo = updates.unsubscribe("a");
        }
    });
    undo();
    await clock.pass(1);
    await clock.pass(1);
    globalThis.fetch = () => Promise.resolve(again.response);
    undo();
    await clock.pass(1);
    await clock.pass(1);
    again.send(head(START) + event(`${TIME}:1`, "a", "again"));
    await clock.settle();
    assert.deepEqual(got, [["a", "again"]]);
});
