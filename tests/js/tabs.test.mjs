// How tabs choose the one that has the connection, and what each of them is told.

import assert from "node:assert/strict";
import { test } from "node:test";

import client from "../../pushserver/static/pushserver/updates.js";
import streams from "../../pushserver/static/pushserver/updates.streams.js";
import tabs from "../../pushserver/static/pushserver/updates.tabs.js";
import { TIME, status, useClock, useConsole, useRandom, useServer } from "./stage.mjs";
import { event, head, last, LOCATION, paths, stream } from "./streams_stage.mjs";
import { useBrowser } from "./tabs_stage.mjs";

const SHARE = "a digest of the user";

/** Set the stage: a clock, a browser, and a server with streams that tests write. */
function play(t, count = 10) {
    const clock = useClock(t);
    const browser = useBrowser(t);
    const open = Array.from({ length: count }, () => stream());
    const server = useServer(t, ...open.map(({ response }) => response));

    /** Open a tab that subscribes to channels, each with its position or its options. */
    async function visit(channels, share = SHARE) {
        const tab = { isFrozen: false, got: [], gaps: [], states: [], exchanges: [] };
        const all = {};
        const updates = client.createUpdates();
        streams.attach(updates);
        tabs.attach(updates);
        for (const [name, options] of Object.entries(channels)) {
            const given = typeof options === "string" ? { after: options } : options;
            all[name] = { url: `/updates/${name}`, location: LOCATION, share, ...given };
            updates.on(name, ({ data }) => tab.got.push([name, data]));
            updates.onGap(name, (missed) => tab.gaps.push([name, missed, tab.got.length]));
        }
        updates.onState((state, name, detail) => tab.states.push([name, state, detail]));
        updates.onExchange((exchange) => tab.exchanges.push(exchange));
        browser.as(tab, () => updates.subscribe(all));
        t.after(() => updates.close());
        for (let turn = 0; turn < 5; turn += 1) {
            await clock.pass(1);
        }
        return Object.assign(tab, { updates });
    }

    return { clock, browser, server, open, visit };
}

const START = `${TIME}:0`;
const id = (tag) => `${TIME}:${tag}`;

test("a tab that is alone has the connection at once", async (t) => {
    const { clock, server, open, visit } = play(t);
    const tab = await visit({ a: START, b: START });
    open[0].send(head(`${START},${START}`) + event(`[${id(1)}],${START}`, "a", 1));
    await clock.settle();
    assert.deepEqual(paths(server), [`/updates/a,b?last_event_id=${START},${START}`]);
    assert.deepEqual(tab.got, [["a", 1]]);
    assert.deepEqual(last(tab.states, "a"), [
        "a",
        "live",
        { transport: "stream", shared: true },
    ]);
    const [exchange] = tab.exchanges;
    assert.deepEqual([exchange.name, exchange.url], ["a", server.requests[0].url]);
});

test("tabs at one position use one connection", async (t) => {
    const { clock, server, open, visit } = play(t);
    const one = await visit({ a: START, b: START });
    open[0].send(head(`${START},${START}`));
    await clock.settle();
    const other = await visit({ b: START });
    open[0].send(event(`[${id(1)}],${START}`, "a", 1) + event(`${id(1)},[${id(2)}]`, "b", 2));
    await clock.settle();
    assert.equal(server.requests.length, 1);
    assert.deepEqual(one.got, [["a", 1], ["b", 2]]);
    assert.deepEqual(other.got, [["b", 2]]);
    assert.deepEqual(last(other.states, "b"), [
        "b",
        "live",
        { transport: "stream", shared: true },
    ]);
    assert.deepEqual(other.exchanges, []);
});

test("a channel that only one tab has is added to the connection", async (t) => {
    const { clock, server, open, visit } = play(t);
    const one = await visit({ a: START });
    const other = await visit({ b: START });
    const both = `/updates/a,b?last_event_id=${START},${START}`;
    assert.equal(paths(server).at(-1), both);
    open[1].send(event(`${START},[${id(1)}]`, "b", 1));
    await clock.settle();
    assert.deepEqual([one.got, other.got], [[], [["b", 1]]]);
    other.updates.close();
    await clock.pass(5);
    assert.equal(paths(server).at(-1), `/updates/a?last_event_id=${START}`);
});

test("a tab with an older position gets what it misses, and the others no more", async (t) => {
    const { clock, server, open, visit } = play(t);
    const one = await visit({ a: id(5) });
    open[0].send(head(id(5)) + event(id(6), "a", 6));
    await clock.settle();
    const other = await visit({ a: id(3) });
    assert.equal(paths(server).at(-1), `/updates/a?last_event_id=${id(3)}`);
    assert.ok(server.requests[0].signal.aborted);
    open[1].send(head(id(3)) + [4, 5, 6, 7].map((tag) => event(id(tag), "a", tag)).join(""));
    await clock.settle();
    assert.deepEqual(one.got, [["a", 6], ["a", 7]]);
    assert.deepEqual(other.got, [["a", 4], ["a", 5], ["a", 6], ["a", 7]]);
    const later = await visit({ a: "0:0" });
    open[2].send(head("0:0") + [6, 7, 8].map((tag) => event(id(tag), "a", tag)).join(""));
    await clock.settle();
    assert.equal(one.got.length, 3);
    assert.equal(other.got.length, 5);
    assert.deepEqual(later.got, [["a", 6], ["a", 7], ["a", 8]]);
    const told = one.states.filter(([, state]) => state === "connecting");
    assert.equal(told.length, 1, "a page is not told of other tabs' requests");
});

test("a thousand repeated messages are dropped by their order", async (t) => {
    const { clock, open, visit } = play(t);
    const one = await visit({ a: "0:0" });
    const all = Array.from({ length: 1000 }, (_, tag) => event(id(tag), "a", tag));
    open[0].send(head("0:0") + all.join(""));
    await clock.settle();
    const other = await visit({ a: "0:0" });
    open[1].send(head("0:0") + all.join("") + event(id(1000), "a", 1000));
    await clock.settle();
    assert.equal(one.got.length, 1001);
    assert.equal(other.got.length, 1001);
});

test("a tab whose page is newer than the connection gets nothing older", async (t) => {
    const { clock, server, open, visit } = play(t);
    const one = await visit({ a: START });
    const other = await visit({ a: id(2) });
    assert.equal(server.requests.length, 1);
    open[0].send(head(START) + [1, 2, 3].map((tag) => event(id(tag), "a", tag)).join(""));
    await clock.settle();
    assert.equal(one.got.length, 3);
    assert.deepEqual(other.got, [["a", 3]]);
});

test("a gap is told to the tabs that miss the messages", async (t) => {
    const { clock, open, visit } = play(t);
    const gap = (tag) =>
        `event: push-gap\ndata: {"channel": "a", "missed": "${id(tag)}"}\n\n`;
    const one = await visit({ a: id(4) });
    const other = await visit({ a: id(1) });
    open[1].send(head(id(1)) + gap(3) + event(id(5), "a", 5));
    await clock.settle();
    assert.deepEqual([one.gaps, other.gaps], [[], [["a", id(3), 0]]]);
    open[1].send(gap(8) + event(id(9), "a", 9));
    await clock.settle();
    assert.deepEqual(one.gaps, [["a", id(8), 1]]);
    assert.deepEqual(other.gaps.at(-1), ["a", id(8), 1]);
});

test("a deleted channel is gone in each tab that has it", async (t) => {
    const { clock, open, visit } = play(t);
    const one = await visit({ a: START, b: START });
    const other = await visit({ a: START });
    const third = await visit({ b: START });
    open[0].send(head(`${START},${START}`));
    open[0].send('event: push-gone\ndata: {"channel": "a"}\n\n');
    open[0].send(event(`${START},[${id(1)}]`, "b", 1));
    await clock.pass(5);
    for (const tab of [one, other]) {
        assert.equal(last(tab.states, "a")[1], "gone");
        assert.equal(last(tab.states, "a")[2].status, 410);
    }
    assert.deepEqual([one.got, third.got], [[["b", 1]], [["b", 1]]]);
    other.updates.subscribe({ a: { url: "/updates/a", location: LOCATION, share: SHARE } });
    await clock.pass(5);
    assert.equal(last(other.states, "a")[1], "connecting");
});

for (const [name, status] of [["push-denied", 403], ["push-expired", 401]]) {
    test(`${status} is told to each tab that has the channel`, async (t) => {
        useConsole(t, "warn");
        const { clock, open, visit } = play(t);
        const one = await visit({ a: START, b: START });
        const other = await visit({ a: START });
        open[0].send(head(`${START},${START}`));
        open[0].send(`event: ${name}\ndata: {"channel": "a"}\n\n`);
        await clock.settle();
        for (const tab of [one, other]) {
            const [, state, detail] = last(tab.states, "a");
            assert.deepEqual([state, detail.status], ["waiting", status]);
        }
        assert.equal(last(one.states, "b")[1], "live");
    });
}

// Who leads

test("another tab goes on when the leader leaves", async (t) => {
    const { clock, server, open, visit } = play(t);
    const one = await visit({ a: START });
    const other = await visit({ a: START });
    open[0].send(head(START) + event(id(1), "a", 1));
    await clock.settle();
    one.updates.close();
    await clock.pass(5);
    assert.equal(server.requests.length, 2);
    assert.equal(paths(server).at(-1), `/updates/a?last_event_id=${id(1)}`);
    open[1].send(head(id(1)) + event(id(2), "a", 2));
    await clock.settle();
    assert.deepEqual(other.got, [["a", 1], ["a", 2]]);
});

test("another tab takes over from a frozen leader, which joins when it wakes", async (t) => {
    const { clock, browser, server, open, visit } = play(t);
    const one = await visit({ a: START });
    const other = await visit({ a: START });
    open[0].send(head(START));
    browser.freeze(one, true);
    await clock.pass(12_000); // The contract says at most 15 seconds.
    assert.equal(paths(server).at(-1), `/updates/a?last_event_id=${START}`);
    assert.equal(server.requests.length, 2);
    open[1].send(head(START) + event(id(1), "a", 1));
    await clock.settle();
    browser.freeze(one, false);
    await clock.pass(2);
    assert.equal(server.requests.length, 3, "it has to get what it missed");
    open[2].send(head(START) + event(id(1), "a", 1) + event(id(2), "a", 2));
    await clock.settle();
    assert.deepEqual([one.got, other.got], Array(2).fill([["a", 1], ["a", 2]]));
    const held = [...browser.held.keys()].filter((name) => name.endsWith("leader"));
    assert.equal(held.length, 1);
});

test("of two tabs that take over at once, one leads, and both go on", async (t) => {
    const { clock, browser, open, visit } = play(t);
    const one = await visit({ a: START });
    const others = [await visit({ a: START }), await visit({ a: START })];
    open[0].send(head(START));
    browser.freeze(one, true);
    await clock.pass(12_000);
    const [name] = [...browser.held.keys()].filter((each) => each.endsWith("leader"));
    // The second one has not heard of the first.
    await Promise.all([
        clock.pass(2),
        navigator.locks.request(name, { steal: true }, () => null),
    ]);
    await clock.pass(5);
    for (const each of open.slice(1)) {
        each.send(head(START) + event(id(1), "a", 1));
    }
    await clock.settle();
    assert.deepEqual(others.map(({ got }) => got), Array(2).fill([["a", 1]]));
    assert.ok(browser.held.has(name));
});

test("a leader that answers keeps its place", async (t) => {
    const { clock, server, open, visit } = play(t);
    await visit({ a: START });
    await visit({ a: START });
    open[0].send(head(START));
    for (let time = 0; time < 10; time += 1) {
        open[0].send(":\n\n");
        await clock.pass(10_000);
    }
    assert.equal(server.requests.length, 1);
});

test("tabs of different users have different connections", async (t) => {
    const { clock, server, open, visit } = play(t);
    const one = await visit({ a: START }, "one");
    const other = await visit({ a: START }, "other");
    assert.equal(server.requests.length, 2);
    open[0].send(event(id(1), "a", "one"));
    open[1].send(event(id(1), "a", "other"));
    await clock.settle();
    assert.deepEqual([one.got, other.got], [[["a", "one"]], [["a", "other"]]]);
});

test("channels without `share` are not shared", async (t) => {
    const { browser, server, visit } = play(t);
    const one = await visit({ a: START }, null);
    await visit({ a: START }, null);
    assert.equal(server.requests.length, 2);
    assert.equal(browser.channels.size, 0);
    assert.equal(last(one.states, "a")[2].shared, undefined);
});

test("who unsubscribes while it is told the state gets nothing more", async (t) => {
    const { clock, open, visit } = play(t);
    const tab = await visit({ a: START, b: START });
    const subscribe = tab.updates.unsubscribe("a");
    await clock.pass(1);
    await clock.pass(1);
    const undo = tab.updates.onState((state, name) => {
        if (name === "a") {
            undo();
            tab.updates.unsubscribe("a");
        }
    });
    subscribe();
    for (let turn = 0; turn < 5; turn += 1) {
        await clock.pass(1);
    }
    open[1].send(head(START) + event(id(1), "b", 1));
    await clock.settle();
    assert.deepEqual(tab.got, [["b", 1]]);
    subscribe();
    for (let turn = 0; turn < 5; turn += 1) {
        await clock.pass(1);
    }
    open[2].send(head(`${id(1)},${START}`) + event(`${id(1)},[${id(2)}]`, "a", 2));
    await clock.settle();
    assert.deepEqual(tab.got, [["b", 1], ["a", 2]]);
});

test("who is unsubscribed by another name's function gets nothing more", async (t) => {
    const { clock, open, visit } = play(t);
    const other = { url: "/updates/a", after: START };
    const tab = await visit({ a: START, other });
    tab.updates.on("a", () => tab.updates.unsubscribe("other"));
    open[0].send(head(START) + event(id(1), "a", 1));
    await clock.settle();
    assert.deepEqual(tab.got, [["a", 1]]);
});

test("messages of other scripts and versions are ignored", async (t) => {
    const { clock, browser, open, visit } = play(t);
    const one = await visit({ a: START });
    const other = await visit({ a: START });
    open[0].send(head(START));
    await clock.settle();
    const [{ name }] = browser.channels;
    let script;
    browser.as({}, () => (script = new BroadcastChannel(name)));
    script.onmessage = () => {};
    const term = Date.now() + 10_000;
    for (const message of [
        ...[null, undefined, 7, "hello", [], {}],
        { isAsked: true },
        { isAsked: true, type: "join" },
        { isAsked: true, type: "join", key: "x", options: { url: "/x" }, position: "new" },
        { isAsked: true, type: "toString" },
        { term: Infinity, type: "pong" },
        { term, type: "told" },
        { term, type: "state", key: `http://localhost/updates/a include stream` },
        { term, type: "message", key: `http://localhost/updates/a include stream` },
        { type: "state", key: `http://localhost/updates/a include stream`, state: "live" },
    ]) {
        script.postMessage(message);
    }
    await clock.settle();
    script.close();
    open[0].send(event(id(1), "a", 1));
    await clock.settle();
    for (const tab of [one, other]) {
        assert.deepEqual(tab.got, [["a", 1]]);
        assert.deepEqual(last(tab.states, "a")[1], "live");
    }
});

test("tokens that differ do not divide a channel", async (t) => {
    const { server, open, clock, visit } = play(t);
    await visit({ a: { url: "/updates/a?token=x", after: START } });
    const other = await visit({ a: { url: "/updates/a?token=y", after: START } });
    open[0].send(event(id(1), "a", 1));
    await clock.settle();
    assert.equal(server.requests.length, 1);
    assert.deepEqual(other.got, [["a", 1]]);
});

for (const [name, when] of [
    ["already", "before"],
    ["later", "after"],
]) {
    test(`an expired token is replaced by that of a tab that is there ${name}`, async (t) => {
        useConsole(t, "warn");
        const { server, open, clock, visit } = play(t, 2);
        const first = await visit({ a: { url: "/updates/a?token=x", after: START } });
        open[0].send(head(START));
        await clock.settle();
        const second = () => visit({ a: { url: "/updates/a?token=y", after: START } });
        let other = when === "before" ? await second() : null;
        open[0].send('event: push-expired\ndata: {"channel": "a"}\n\n');
        open[0].end();
        await clock.pass(10);
        other ??= await second();
        await clock.pass(10);
        assert.match(server.requests.at(-1).url, /token=y/);
        const answered = server.requests.length;
        open[1].send(head(START) + event(id(1), "a", 1));
        await clock.pass(60_000);
        assert.deepEqual([first.got, other.got], [[["a", 1]], [["a", 1]]]);
        assert.equal(server.requests.length, answered);
    });
}

test("tokens of all tabs that have expired are asked slowly", async (t) => {
    useConsole(t, "warn");
    const { server, clock, visit } = play(t, 0);
    const refusal = () => status(401, { "Content-Type": "text/plain" }, "expired");
    server.answers.push(...Array.from({ length: 99 }, refusal));
    await visit({ a: { url: "/updates/a?token=x", after: START } });
    await visit({ a: { url: "/updates/a?token=y", after: START } });
    await clock.pass(60_000);
    assert.ok(server.requests.length < 9, String(server.requests.length));
});

const BROKEN = {
    "no Web Locks": () => Object.defineProperty(navigator, "locks", { value: undefined }),
    "Web Locks that are refused": () =>
        (navigator.locks.request = () => Promise.reject(new DOMException("", "SecurityError"))),
    "no BroadcastChannel": () => delete globalThis.BroadcastChannel,
    "a BroadcastChannel that fails": () =>
        (globalThis.BroadcastChannel = class {
            constructor() {
                throw new Error("not here");
            }
        }),
};

for (const [name, breakIt] of Object.entries(BROKEN)) {
    test(`with ${name}, each tab has its own connection`, async (t) => {
        useRandom(t, 0.5);
        const { clock, server, open, visit } = play(t);
        breakIt();
        const one = await visit({ a: START });
        const other = await visit({ a: START });
        assert.equal(server.requests.length, 2);
        open.slice(0, 2).forEach((each) => each.send(head(START) + event(id(1), "a", 1)));
        await clock.settle();
        for (const { got, states } of [one, other]) {
            assert.deepEqual(got, [["a", 1]]);
            assert.deepEqual(last(states, "a"), ["a", "live", { transport: "stream" }]);
        }
    });
}

test("tabs that cannot hear each other have their own connections", async (t) => {
    const { clock, browser, open, visit } = play(t);
    const all = [await visit({ a: START }), await visit({ a: START })];
    open.forEach((each) => each.send(head(START)));
    await clock.settle();
    all.forEach((tab) => browser.freeze(tab, true));
    await clock.pass(60_000);
    open.forEach((each) => each.send(event(id(1), "a", 1)));
    await clock.settle();
    assert.deepEqual(all[0].got, [["a", 1]]);
    assert.deepEqual(all[1].got, [["a", 1]]);
});
