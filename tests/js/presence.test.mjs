// Who is on a channel, and pages that say that they are hidden.

import assert from "node:assert/strict";
import { test } from "node:test";

import client from "../../pushserver/static/pushserver/updates.js";
import presence from "../../pushserver/static/pushserver/updates.presence.js";
import streams from "../../pushserver/static/pushserver/updates.streams.js";
import tabs from "../../pushserver/static/pushserver/updates.tabs.js";
import tokens from "../../pushserver/static/pushserver/updates.tokens.js";
import websocket from "../../pushserver/static/pushserver/updates.websocket.js";
import { message, status, useClock, useConsole, useServer } from "./stage.mjs";
import { event, head, LOCATION, paths, stream } from "./streams_stage.mjs";
import { useBrowser } from "./tabs_stage.mjs";
import { makeUrl, useSite } from "./tokens_stage.mjs";
import {
    diff,
    makeFunctions,
    makeUpdates,
    state,
    usePage,
    usePolls,
    watch,
} from "./presence_stage.mjs";

const ROOM = "/updates/presence:room";

// Who is there

test("a page is told who is there, who comes and who goes", async (t) => {
    const { server, tell } = await watch(t);
    assert.deepEqual(paths(server), [
        "/updates/room,presence:room?last_event_id=0:0,0:0",
    ]);
    assert.deepEqual(await tell(state({ 7: { name: "Anna" } }, 2)), [
        ["sync", { 7: { name: "Anna" } }, 2, 3],
        ["count", 3],
    ]);
    assert.deepEqual(await tell(diff({ 8: null }, {}, 2)), [
        ["join", "8", null, true],
        ["count", 4],
    ]);
    assert.deepEqual(await tell(diff({}, { 7: { name: "Anna" } }, 2)), [
        ["leave", "7", { name: "Anna" }],
        ["count", 3],
    ]);
    assert.deepEqual(await tell(diff({}, {}, 5)), [["count", 6]]);
});

test("what is known already is not told again", async (t) => {
    const { tell } = await watch(t);
    await tell(state({ 7: { a: 1, b: [2] } }));
    assert.deepEqual(await tell(diff({ 7: { b: [2], a: 1 } }, { 9: null })), []);
    assert.deepEqual(await tell(diff({ 7: { a: 1, b: [3] } })), [
        ["join", "7", { a: 1, b: [3] }, false],
    ]);
});

test("a state after a gap tells the differences only", async (t) => {
    const { tell } = await watch(t);
    await tell(state({ 1: "one", 2: "two", 3: "three" }));
    assert.deepEqual(await tell(state({ 2: "two", 3: "drei", 4: "four" }, 1)), [
        ["leave", "1", "one"],
        ["join", "3", "drei", false],
        ["join", "4", "four", true],
        ["sync", { 2: "two", 3: "drei", 4: "four" }, 1, 4],
        ["count", 4],
    ]);
    const same = state({ 4: "four", 2: "two", 3: "drei" }, 1);
    assert.deepEqual(await tell(same), [
        ["sync", { 2: "two", 3: "drei", 4: "four" }, 1, 4],
    ]);
});

test("a state counts also if it has the id of an earlier one", async (t) => {
    // As that of a server that was restarted and has told no changes yet.
    const { clock, server, open, take } = await watch(t);
    const first = "0:0,[0:1]";
    open.send(event(first, "presence:room", state({})));
    open.send(event("0:0,[1795350764:1]", "presence:room", diff({ 1: null, 2: null })));
    await clock.settle();
    take();
    await clock.pass(20_000);
    const next = stream();
    server.answers.push(next.response);
    open.end();
    await clock.pass(3000);
    next.send(head("0:0,0:0") + event(first, "presence:room", state({ 2: null })));
    await clock.settle();
    assert.deepEqual(take()[0], ["leave", "1", null]);
});

test("a poll whose changes were lost asks for the state", async (t) => {
    const clock = useClock(t);
    const warnings = useConsole(t, "warn");
    const lost = () =>
        status(304, { "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT", Etag: "0" });
    const again = [message(5, state({ 1: null })), lost(), message(5, state({ 2: null }))];
    const first = message(3, state({ 1: null, 2: null }));
    const server = usePolls(t, { [ROOM]: [first, lost(), ...again] });
    const updates = makeUpdates(t, { withStreams: false });
    const { functions, take } = makeFunctions();
    updates.presence("main", functions);
    updates.subscribe({ main: "/updates/room" });
    await clock.pass(3000);
    const told = take().filter(([each]) => each === "leave" || each === "join");
    assert.deepEqual(told, [
        ["leave", "2", null],
        ["leave", "1", null],
        ["join", "2", null, true],
    ]);
    assert.deepEqual(warnings, []);
    assert.equal(server.held, 2);
});

test("only the number of many is told", async (t) => {
    const { tell } = await watch(t);
    await tell(state({ 1: null }));
    assert.deepEqual(await tell({ type: "diff", count: 1001, others: 2 }), [
        ["sync", {}, 2, 1003],
        ["count", 1003],
    ]);
    assert.deepEqual(await tell({ type: "diff", count: 1000, others: 2 }), [
        ["count", 1002],
    ]);
    assert.deepEqual(await tell(state({ 1: null, 2: null })), [
        ["sync", { 1: null, 2: null }, 0, 2],
        ["count", 2],
    ]);
});

test("keys that objects have are members like others", async (t) => {
    const { tell, calls } = await watch(t);
    const keys = ["__proto__", "constructor", "toString"];
    const json = `{${keys.map((key) => `"${key}":{"info":"${key}"}`).join()}}`;
    const told = JSON.parse(`{"type":"state","members":${json},"others":0}`);
    await tell({ ...told, members: {} });
    const joins = JSON.parse(`{"type":"diff","joins":${json},"leaves":{},"others":0}`);
    assert.deepEqual(
        (await tell(joins)).slice(0, 3),
        keys.map((key) => ["join", key, key, true]),
    );
    await tell({ type: "diff", count: 2000, others: 0 });
    assert.deepEqual((await tell(told)).at(-1), ["count", 3]);
    assert.equal({}.info, undefined);
    assert.deepEqual(calls, []);
});

test("names that objects have are names like others", async (t) => {
    const clock = useClock(t);
    usePolls(t, { [ROOM]: [message(1, state({ 7: null }))] });
    const updates = makeUpdates(t, { withStreams: false });
    const { functions, take } = makeFunctions();
    updates.presence("__proto__", functions);
    updates.subscribe(JSON.parse('{"__proto__": "/updates/room"}'));
    await clock.pass(5);
    assert.deepEqual(take(), [["sync", { 7: null }, 0, 1], ["count", 1]]);
});

test("a function that fails harms no other", async (t) => {
    const errors = useConsole(t, "error");
    const { updates, tell } = await watch(t);
    const fail = () => {
        throw new Error("of the page");
    };
    updates.presence("main", { onSync: fail, onJoin: fail });
    const { functions, take } = makeFunctions();
    updates.presence("main", functions);
    await tell(state({}));
    await tell(diff({ 1: null, 2: null }));
    assert.equal(take().filter(([each]) => each === "join").length, 2);
    assert.equal(errors.length, 3);
    assert.throws(() => updates.presence("main", { onJoin: 1 }), TypeError);
});

test("where there is no presence, the page says so and keeps its stream", async (t) => {
    const warnings = useConsole(t, "warn");
    const { clock, open, server, updates, take } = await watch(t);
    const got = [];
    updates.on("main", ({ data }) => got.push(data));
    const sentence = "This location has no presence.";
    const refusal = () => status(403, { "Content-Type": "text/plain" }, sentence);
    server.answers.push(refusal(), refusal());
    open.send('event: push-denied\ndata: {"channel": "presence:room"}\n\n');
    for (let minute = 0; minute < 2; minute += 1) {
        await clock.pass(30_000);
    }
    const refused = warnings.filter(([text]) => text.includes(sentence));
    assert.equal(refused.length, 1);
    assert.ok(paths(server).slice(1).every((path) => path === "/updates/presence:room"));
    open.send(event("[1795350764:1],0:0", "room", { text: "hello" }));
    await clock.settle();
    assert.deepEqual(got, [{ text: "hello" }]);
    assert.deepEqual(take(), []);
});

test("who asks later is told at once, and a copy", async (t) => {
    const { clock, updates, server, tell } = await watch(t);
    await tell(state({ 7: null }, 1));
    const { functions, calls, take } = makeFunctions();
    updates.presence("main", functions);
    assert.deepEqual(calls, []);
    await clock.settle();
    calls[0][1].members.clear();
    take();
    updates.presence("main", functions);
    await clock.settle();
    assert.deepEqual(take(), [["sync", { 7: null }, 1, 2], ["count", 2]]);
    assert.equal(server.requests.length, 1);
});

test("the undo ends it with the last of its kind", async (t) => {
    const { clock, updates, undo, server, tell, take } = await watch(t);
    await tell(state({}));
    const again = makeFunctions();
    const undoOther = updates.presence("main", again.functions);
    undo();
    undo();
    await tell(diff({ 1: null }));
    assert.deepEqual(take(), []);
    assert.equal(again.take().at(-1)[1], 1);
    undoOther();
    await clock.pass(5);
    assert.equal(paths(server).at(-1), "/updates/room?last_event_id=0:0");
});

// Which channel

test("it may be asked for after the channel was subscribed", async (t) => {
    const clock = useClock(t);
    const server = useServer(t);
    const updates = makeUpdates(t, { withStreams: false });
    updates.subscribe({ main: "/updates/room" });
    await clock.pass(5);
    updates.presence("main", {});
    await clock.pass(5);
    assert.deepEqual(paths(server), ["/updates/room", "/updates/presence:room"]);
});

test("a file that is loaded late finds what is subscribed already", async (t) => {
    const clock = useClock(t);
    const server = useServer(t);
    const updates = client.createUpdates();
    t.after(() => updates.close());
    updates.subscribe({ main: "/updates/room" });
    await clock.pass(5);
    presence.attach(updates);
    updates.presence("main", {});
    await clock.pass(5);
    const asked = ["/updates/room", "/updates/room", "/updates/presence:room"];
    assert.deepEqual(paths(server).sort(), asked.sort());
    assert.equal(server.held, 2);
});

test("it ends with the subscription of the channel, and goes on with it", async (t) => {
    const clock = useClock(t);
    const server = usePolls(t, { [ROOM]: [message(1, state({ 1: null }))] });
    const updates = makeUpdates(t, { withStreams: false });
    const { functions, take } = makeFunctions();
    updates.presence("main", functions);
    updates.subscribe({ main: "/updates/room" });
    await clock.pass(5);
    const undo = updates.unsubscribe("main");
    await clock.pass(5);
    assert.equal(server.held, 0);
    take();
    server.give[ROOM] = [message(9, state({ 1: null, 2: null }))];
    undo();
    await clock.pass(5);
    assert.deepEqual(take().slice(0, 1), [["join", "2", null, true]]);
    assert.equal(server.held, 2);
    updates.unsubscribe("main");
    server.give["/updates/presence:other"] = [message(3, state({ 5: null }))];
    updates.subscribe({ main: "/updates/other" });
    await clock.pass(5);
    assert.equal(take()[0][0], "sync"); // They are of another channel.
});

const FOUND = [
    ["/updates/room", {}, "/updates/presence:room", "presence:room"],
    ["/updates/user%2F7/", {}, "/updates/presence:user%2F7/", "presence:user/7"],
    ["/a/b/room/x", { location: '/b/{channels}/x; separator=","' }, "/a/b/presence:room/x"],
    ["/updates/a/b", { channel: "a/b" }, "/updates/presence:a/b", "presence:a/b"],
    ["/updates/a?last_event_id=1:1&x=1", {}, "/updates/presence:a?x=1"],
];

for (const [url, options, expected, id = "presence:room"] of FOUND) {
    test(`the channel of ${url}`, () => {
        const found = presence.findPresence(url, options);
        assert.equal(found.url, `http://localhost${expected}`);
        assert.ok(found.id === id || expected.endsWith("x=1"));
    });
}

test("the token of the channel is valid, and is renewed for it", async (t) => {
    const clock = useClock(t);
    const site = useSite(t);
    const updates = client.createUpdates();
    tokens.attach(updates);
    presence.attach(updates);
    t.after(() => updates.close());
    updates.presence("main", {});
    const url = makeUrl("room", 100);
    updates.subscribe({ main: { url, tokenUrl: "/tokens" } });
    await clock.pass(5);
    const token = new URL(url, "http://localhost").searchParams.get("token");
    assert.deepEqual(site.requests.map(({ token: each }) => each), [token, token]);
    await clock.pass(81_000);
    assert.deepEqual(site.asked.map((ids) => ids.sort()), [["presence:room", "room"]]);
    const now = site.held().map(({ path }) => decodeURIComponent(path));
    assert.deepEqual(now.sort(), ["/updates/presence:room", "/updates/room"]);
});

test("a page may say the URL", async (t) => {
    const clock = useClock(t);
    const server = useServer(t);
    const updates = makeUpdates(t, { withStreams: false });
    updates.presence("main", { url: "/rooms/presence:7/events" });
    updates.subscribe({ main: "/rooms/7/events" });
    await clock.pass(5);
    assert.equal(paths(server).at(-1), "/rooms/presence:7/events");
});

// A hidden page

const BEACON = ["http://localhost/updates/room?hidden=1"];

test("a page that is hidden says so while a poll is held, and in the next", async (t) => {
    const clock = useClock(t);
    const page = usePage(t);
    const server = useServer(t);
    const updates = makeUpdates(t, { withStreams: false });
    updates.presence("main", {});
    updates.subscribe({ main: "/updates/room", other: "/updates/other" });
    await clock.pass(5);
    page.setHidden(true);
    assert.deepEqual(page.beacons, BEACON);
    updates.unsubscribe("other");
    updates.unsubscribe("main")();
    await clock.pass(5);
    assert.ok(paths(server).slice(3).includes("/updates/room?hidden=1"));
    assert.deepEqual(page.beacons, BEACON);
    const count = server.requests.length;
    page.setHidden(false);
    await clock.pass(5);
    assert.deepEqual(paths(server).slice(count), ["/updates/room"]);
});

test("a stream that ends while the page is hidden is not forgotten", async (t) => {
    const page = usePage(t);
    const { clock, open, server, updates } = await watch(t);
    page.setHidden(true);
    assert.deepEqual(page.beacons, BEACON);
    await clock.pass(20_000);
    open.end();
    await clock.settle();
    assert.deepEqual(page.beacons, [...BEACON, ...BEACON]);
    const next = stream();
    server.answers.push(next.response);
    await clock.pass(3000);
    assert.match(paths(server)[1], /[?&]hidden=1/);
    next.send(head("0:0,0:0"));
    await clock.settle();
    page.setHidden(false);
    await clock.pass(5);
    assert.equal(server.requests.length, 3);
    assert.ok(!paths(server)[2].includes("hidden"));
    assert.equal(page.beacons.length, 2);
    updates.close();
    page.setHidden(true); // As a page that is closed.
    assert.equal(page.beacons.length, 2);
});

test("a page that tells nobody who is there says nothing", async (t) => {
    const page = usePage(t);
    const { undo, clock, server } = await watch(t);
    undo();
    await clock.pass(5);
    page.setHidden(true);
    assert.deepEqual(page.beacons, []);
    assert.ok(paths(server).every((path) => !path.includes("hidden")));
});

test("a browser without beacons sends a request", async (t) => {
    const page = usePage(t);
    const { server } = await watch(t);
    page.navigator.sendBeacon = () => false;
    page.setHidden(true);
    const { method, url, keepalive } = server.requests.at(-1);
    assert.deepEqual([method, url, keepalive], ["POST", BEACON[0], true]);
});

test("a socket tells it itself", async (t) => {
    const sockets = [];
    const real = globalThis.WebSocket;
    globalThis.WebSocket = class {
        constructor(url) {
            Object.assign(this, { url, readyState: 1, sent: [] });
            sockets.push(this);
        }
        send(text) {
            this.sent.push(text);
        }
        close() {
            this.readyState = 3;
        }
    };
    t.after(() => (globalThis.WebSocket = real));
    const page = usePage(t, { hidden: true });
    const clock = useClock(t);
    useServer(t);
    const updates = client.createUpdates();
    streams.attach(updates);
    websocket.attach(updates);
    presence.attach(updates);
    t.after(() => updates.close());
    updates.presence("main", {});
    const options = { location: LOCATION, transport: "websocket" };
    updates.subscribe({ main: { url: "/updates/room", ...options } });
    await clock.pass(5);
    const [socket] = sockets;
    assert.match(socket.url, /[?&]hidden=1/);
    socket.onopen();
    socket.onmessage({ data: "id: 0:0,0:0\n\n" });
    page.setHidden(false);
    page.setHidden(true);
    assert.deepEqual(socket.sent, ["visible", "hidden"]);
    assert.deepEqual(page.beacons, []);
    assert.equal(sockets.length, 1);
    updates.close();
    page.setHidden(false);
    assert.equal(socket.sent.length, 2);
});

// All tabs

test("tabs share it, and the one with the connection says that it is hidden", async (t) => {
    const clock = useClock(t);
    const page = usePage(t);
    const browser = useBrowser(t);
    Object.assign(navigator, page.navigator);
    const server = useServer(t);
    // Each stream begins with who is there, if it has the channel of that.
    server.answers = {
        shift() {
            const open = stream();
            const url = new URL(server.requests.at(-1).url);
            const ids = url.searchParams.get("last_event_id").split(",");
            const index = url.pathname.slice(9).split(",").indexOf("presence:room");
            open.send(head(ids.join()));
            if (ids[index] === "0:0") {
                ids[index] = "[1795350764:1]";
                open.send(event(ids.join(), "presence:room", state({ 7: null })));
            }
            return open.response;
        },
    };
    const opened = [];
    for (const name of ["one", "other"]) {
        const tab = { isFrozen: false, name, ...makeFunctions() };
        const updates = client.createUpdates();
        streams.attach(updates);
        tabs.attach(updates);
        presence.attach(updates);
        t.after(() => updates.close());
        updates.presence("main", tab.functions);
        const main = { url: "/updates/room", share: "s", location: LOCATION };
        browser.as(tab, () => updates.subscribe({ main }));
        for (let turn = 0; turn < 10; turn += 1) {
            await clock.pass(1);
        }
        opened.push(tab);
    }
    for (const { take } of opened) {
        assert.deepEqual(take(), [["sync", { 7: null }, 0, 1], ["count", 1]]);
    }
    page.setHidden(true);
    assert.deepEqual(page.beacons, BEACON);
});
