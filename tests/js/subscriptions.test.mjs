// What the page is told: messages, gaps, states, exchanges, and how it subscribes.

import assert from "node:assert/strict";
import { test } from "node:test";

import client from "../../pushserver/static/pushserver/updates.js";
import {
    DATE,
    TIME,
    message,
    status,
    useClock,
    useConsole,
    useRandom,
    useServer,
} from "./stage.mjs";
import { URL_A, names, play } from "./client_stage.mjs";

test("a gap is told before the message that comes after it", async (t) => {
    const clock = useClock(t);
    useServer(t, message(0, 1), message(5, 2, { "Push-Gap": `${TIME}:4` }));
    const updates = client.createUpdates();
    const told = [];
    updates.on("a", ({ id }) => told.push(id));
    updates.onGap("a", (missed, name) => told.push(["gap", missed, name]));
    updates.subscribe({ a: URL_A });
    await clock.pass(1);
    assert.deepEqual(told, [`${TIME}:0`, ["gap", `${TIME}:4`, "a"], `${TIME}:5`]);
    updates.close();
});

test("processors are called in order, each for its type", async (t) => {
    const { clock, server, updates } = await play(t, []);
    const told = [];
    updates.registerProcessor("a", "x", (data) => told.push(["one", data]));
    updates.registerProcessor("a", "y", () => told.push("another type"));
    updates.registerProcessor("b", "x", () => told.push("another channel"));
    updates.registerProcessor("a", "x", (data) => told.push(["two", data.n]));
    updates.registerProcessor("a", 7, () => told.push("a number"));
    server.answer(message(0, { type: "x", n: 1 }));
    await clock.settle();
    server.answer(message(1, { type: 7 }));
    await clock.settle();
    assert.deepEqual(told, [["one", { type: "x", n: 1 }], ["two", 1], "a number"]);
});

test("data without a type reaches no processor and hurts none", async (t) => {
    const { clock, server, updates, got } = await play(t, []);
    const told = [];
    updates.registerProcessor("a", "x", (data) => told.push(data));
    for (const [tag, data] of [null, 5, [], {}, "x", { type: "x" }].entries()) {
        server.answer(message(tag, data));
        await clock.settle();
    }
    assert.equal(got.length, 6);
    assert.deepEqual(told, [{ type: "x" }]);
});

test("a listener is given everything that is known of a message", async (t) => {
    const { clock, server, updates } = await play(t, []);
    const told = [];
    updates.on("a", (message) => told.push(message));
    const headers = { "Content-Type": "text/plain", "Last-Modified": DATE, Etag: "0" };
    server.answer(new Response("Grüße", { headers }));
    await clock.settle();
    const { bytes, ...rest } = told[0];
    assert.deepEqual(rest, {
        name: "a",
        id: `${TIME}:0`,
        contentType: "text/plain",
        event: null,
        exclude: null,
        data: "Grüße",
        text: "Grüße",
    });
    assert.deepEqual([...bytes], [...new TextEncoder().encode("Grüße")]);
});

test("a processor that throws is reported and stops nobody", async (t) => {
    const errors = useConsole(t, "error");
    const { clock, server, updates, got } = await play(t, []);
    const told = [];
    updates.registerProcessor("a", "x", () => {
        throw new Error("of the page");
    });
    updates.registerProcessor("a", "x", () => told.push("after it"));
    server.answer(message(0, { type: "x" }));
    await clock.settle();
    server.answer(message(1, { type: "x" }));
    await clock.settle();
    assert.equal(errors.length, 2);
    assert.match(String(errors[0][1]), /of the page/);
    assert.deepEqual(told, ["after it", "after it"]);
    assert.equal(got.length, 2);
});

test("each call returns what undoes it, and twice does no harm", async (t) => {
    const { clock, server, updates, got, states } = await play(t, []);
    const told = [];
    const undos = [
        updates.registerProcessor("a", "x", () => told.push("processor")),
        updates.on("a", () => told.push("on")),
        updates.onGap("a", () => told.push("gap")),
        updates.onState(() => told.push("state")),
        updates.onExchange(() => told.push("exchange")),
    ];
    told.length = 0;
    [...undos, ...undos].forEach((undo) => undo());
    server.answer(message(0, { type: "x" }, { "Push-Gap": "1:1" }));
    await clock.settle();
    assert.deepEqual(told, []);
    assert.equal(got.length, 1, "others are still called");
    assert.equal(states.at(-1)[0], "live");
});

test("undoing a subscription leaves a later one of that name alone", async (t) => {
    const clock = useClock(t);
    const server = useServer(t);
    const updates = client.createUpdates();
    const undo = updates.subscribe({ a: URL_A });
    undo();
    updates.subscribe({ a: "/updates/other" });
    undo();
    await clock.pass(1);
    assert.deepEqual(
        server.requests.map(({ url }) => url),
        ["/updates/other"],
    );
    updates.close();
});

test("what was unsubscribed or closed goes on after the last message", async (t) => {
    const { clock, server, updates, states } = await play(t, [message(3, 1)]);
    for (const stop of [() => updates.unsubscribe("a"), () => updates.close()]) {
        const undo = stop();
        await clock.settle();
        assert.equal(server.held, 0);
        undo();
        undo();
        await clock.pass(1);
        assert.equal(server.held, 1);
        assert.equal(server.requests.at(-1).headers["If-None-Match"], "3");
    }
    assert.deepEqual(names(states), ["connecting", "live", "connecting", "connecting"]);
});

test("unsubscribing from what is not subscribed does nothing", () => {
    client.createUpdates().unsubscribe("a")();
});

test("falsy URLs are skipped and a name twice is ignored", async (t) => {
    const { clock, server, updates } = await play(t, []);
    updates.subscribe({ a: "/updates/again", b: "", c: null, d: undefined, e: false });
    updates.subscribe({ f: { url: null }, g: { url: "/updates/g" } });
    updates.subscribe(null);
    await clock.pass(1);
    assert.deepEqual(
        server.requests.map(({ url }) => url),
        [URL_A, "/updates/g"],
    );
});

test("processors wait for a subscription, and outlast it", async (t) => {
    const { clock, server, updates, got } = await play(t, []);
    updates.unsubscribe("a");
    await clock.settle();
    updates.subscribe({ a: URL_A });
    await clock.pass(1);
    assert.equal(server.requests.at(-1).headers["If-None-Match"], "0", "from the start");
    server.answer(message(0, 1));
    await clock.settle();
    assert.deepEqual(got, [1]);
});

test("a subscription is live when a request is held for a second", async (t) => {
    const { clock, states } = await play(t, []);
    assert.deepEqual(names(states), ["connecting"]);
    await clock.pass(1000);
    assert.deepEqual(names(states), ["connecting", "live"]);
});

test("states tell of failing and of coming back", async (t) => {
    const { clock, server, states } = await play(t, [message(0, 1)]);
    server.fail();
    await clock.pass(3000);
    assert.deepEqual(names(states), ["connecting", "live", "waiting", "connecting", "live"]);
    assert.equal(states[2][1].reason, "Failed to fetch");
});

test("who asks for states late is told the present ones", async (t) => {
    const { updates } = await play(t, [message(0, 1)]);
    const told = [];
    updates.onState((...args) => told.push(args));
    assert.deepEqual(told, [["live", "a", {}]]);
});

test("a woken computer asks at once", async (t) => {
    const { clock, server } = await play(t, [message(3, 1)]);
    await clock.pass(20_000);
    assert.equal(server.requests.length, 2);
    clock.sleep(60_000);
    await clock.pass(2000);
    assert.equal(server.requests.length, 3);
    assert.equal(server.requests[2].headers["If-None-Match"], "3");
    assert.equal(server.held, 1, "the old request is let go");
});

test("a request held very long is asked anew, as its connection may be dead", async (t) => {
    const { clock, server } = await play(t, []);
    await clock.pass(119_000);
    assert.equal(server.requests.length, 1);
    await clock.pass(4000);
    assert.equal(server.requests.length, 2);
    assert.equal(server.held, 1);
});

test("a woken computer still waits as long as the server asked", async (t) => {
    useRandom(t, 0);
    const { clock, server } = await play(t, [status(503, { "Retry-After": "900" })]);
    await clock.pass(2000);
    clock.sleep(60_000);
    await clock.pass(800_000);
    assert.equal(server.requests.length, 1);
    await clock.pass(100_000);
    assert.equal(server.requests.length, 2);
});

test("exchanges are told when they start and when they end", async (t) => {
    const clock = useClock(t);
    const server = useServer(t);
    const updates = client.createUpdates();
    const told = [];
    updates.onExchange((exchange) => told.push(exchange));
    updates.subscribe({ a: URL_A });
    await clock.pass(1);
    assert.deepEqual(Object.keys(told[0]), ["name", "url", "request"]);
    server.answer(message(0, 1));
    await clock.settle();
    assert.equal(told[1].status, 200);
    assert.equal(told[1].response.etag, "0");
    assert.equal(told[1].text, "1");
    assert.equal(told.length, 3, "the next one has started");
    updates.close();
});

test("what is no function is refused when it is registered", () => {
    const updates = client.createUpdates();
    assert.throws(() => updates.registerProcessor("a", "x"), TypeError);
    assert.throws(() => updates.on("a", "x"), TypeError);
    assert.throws(() => updates.onGap("a", null), TypeError);
    assert.throws(() => updates.onState(), TypeError);
    assert.throws(() => updates.onExchange({}), TypeError);
});

test("names are only names", async (t) => {
    const { clock, server, updates } = await play(t, []);
    const told = [];
    updates.registerProcessor("__proto__", "toString", (data) => told.push(data.n));
    updates.subscribe(JSON.parse('{"__proto__": "/updates/proto"}'));
    await clock.pass(1);
    server.answer(message(0, { type: "toString", n: 1 }));
    await clock.settle();
    assert.deepEqual(told, [1]);
});
