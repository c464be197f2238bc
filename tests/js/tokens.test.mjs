// Signed URLs are renewed before they expire and when they are refused.

import assert from "node:assert/strict";
import { test } from "node:test";

import client from "../../pushserver/static/pushserver/updates.js";
import streams from "../../pushserver/static/pushserver/updates.streams.js";
import tabs from "../../pushserver/static/pushserver/updates.tabs.js";
import tokens from "../../pushserver/static/pushserver/updates.tokens.js";
import { message, status, TIME, useClock, useConsole, useRandom } from "./stage.mjs";
import { event, head, last, LOCATION, stream } from "./streams_stage.mjs";
import { useBrowser } from "./tabs_stage.mjs";
import { json, makeToken, makeUrl, play, useSite } from "./tokens_stage.mjs";

const id = (tag) => `${TIME}:${tag}`;

const unauthorized = () => status(401, { "Content-Type": "text/plain" }, "It has expired.");

test("a token tells its channels and its life", () => {
    const url = makeUrl("a/ü", 60);
    const { channels, life } = tokens.readToken(url);
    assert.deepEqual(channels, ["a/ü"]);
    assert.equal(Math.round(life), 60_000);
    for (const token of ["", "x", "..:x", "e30:x", `${makeToken(["a"], -1)}`]) {
        assert.equal(tokens.readToken(`/updates/a?token=${token}`), null);
    }
    assert.equal(tokens.readToken("/updates/a"), null);
});

// Before they expire

test("one request renews all tokens at four fifths of their life", async (t) => {
    const { clock, site, states } = await play(t, { a: {}, b: {}, c: {} });
    assert.equal(site.held().length, 3);
    await clock.pass(78_000);
    assert.deepEqual(site.asked, []);
    const before = states.length;
    const former = site.held().map(({ token }) => token);
    await clock.pass(2500);
    assert.deepEqual(site.asked, [["a", "b", "c"]]);
    assert.equal(site.options.credentials, "same-origin");
    const now = site.held().map(({ token }) => token);
    assert.equal(now.length, 3);
    assert.equal(new Set([...former, ...now]).size, 6);
    await clock.pass(80_000);
    assert.equal(site.asked.length, 2);
    assert.equal(states.length, before); // The page need not know.
});

test("a poll goes on after its last message", async (t) => {
    const { clock, site, got } = await play(t, { a: {} });
    site.held()[0].answer(message(1, "one"));
    await clock.pass(81_000);
    const [{ headers }] = site.held();
    assert.equal(headers["If-None-Match"], "1");
    site.held()[0].answer(message(2, "two"));
    await clock.settle();
    assert.deepEqual(got, [["a", "one"], ["a", "two"]]);
});

test("channels on one stream stay on one stream, and miss nothing", async (t) => {
    const channels = { a: { location: LOCATION }, b: { location: LOCATION } };
    const { clock, site, got, states } = await play(t, channels, { withStreams: true });
    const [first] = site.held();
    assert.equal(first.path, "/updates/a,b");
    const open = stream();
    first.answer(open.response);
    open.send(head("0:0,0:0") + event(`[${id(1)}],0:0`, "a", 1));
    await clock.pass(80_500);
    assert.ok(first.signal.aborted);
    assert.equal(site.requests.length, 2);
    const again = site.requests[1].url.searchParams;
    assert.equal(again.get("last_event_id"), `${id(1)},0:0`);
    assert.equal(again.getAll("token").length, 2);
    const next = stream();
    site.held()[0].answer(next.response);
    next.send(head(`${id(1)},0:0`) + event(`[${id(2)}],0:0`, "a", 2));
    await clock.settle();
    assert.deepEqual(got, [["a", 1], ["a", 2]]);
    assert.deepEqual(site.asked, [["a", "b"]]);
    assert.equal(states.filter(([, state]) => state === "live").length, 2);
});

test("a location that was found is known for new tokens, too", async (t) => {
    const { clock, site } = await play(t, { a: {} }, { withStreams: true });
    const open = stream();
    site.held()[0].answer(open.response);
    open.send(head("0:0"));
    await clock.pass(80_500);
    assert.equal(site.requests.length, 2);
    site.held()[0].answer(unauthorized());
    await clock.pass(1500);
    assert.equal(site.requests.length, 3);
});

test("a wrong clock of the browser does not matter", async (t) => {
    for (const skew of [-3600, 3600]) {
        await t.test(`${skew}`, async (t) => {
            const issuedAt = Date.now() / 1000;
            const url = `/updates/a?token=${makeToken(["a"], 100, issuedAt + skew)}`;
            const { clock, site } = await play(t, { a: { url } });
            await clock.pass(70_000);
            assert.equal(site.asked.length, 0);
            await clock.pass(11_000);
            assert.equal(site.asked.length, 1);
        });
    }
});

test("an id is an option, or in the token, or the end of the path", async (t) => {
    const { site, clock } = await play(t, {
        one: { url: `/updates/x?token=${makeToken(["user/7"], 100)}` },
        two: { url: "/updates/user%2F8/?token=opaque" },
        three: { url: "/updates/y?token=opaque", channel: "chosen" },
    });
    await clock.pass(81_000);
    assert.deepEqual(site.asked, [["user/7", "user/8", "chosen"]]);
});

test("many channels are asked for in several requests", async (t) => {
    const names = Array.from({ length: 300 }, (_, index) => `c${index}`);
    const channels = Object.fromEntries(names.map((name) => [name, {}]));
    const { site, clock } = await play(t, channels);
    await clock.pass(80_500);
    assert.deepEqual(site.asked.map(({ length }) => length), [255, 45]);
    assert.deepEqual(site.asked.flat(), names);
});

test("a token that has expired while the computer slept is renewed first", async (t) => {
    const { clock, site } = await play(t, { a: {}, b: {} });
    clock.sleep(200_000);
    await clock.pass(3000);
    assert.deepEqual(site.asked, [["a", "b"]]);
    assert.equal(site.requests.length, 4);
    assert.equal(site.held().length, 2);
});

test("tokens that have expired when the page begins are renewed together", async (t) => {
    const issuedAt = Date.UTC(2026, 10, 22) / 1000;
    const expired = (id) => `/updates/${id}?token=${makeToken([id], 0.001, issuedAt)}`;
    const channels = { a: { url: expired("a") }, b: { url: expired("b") } };
    const { clock, site } = await play(t, channels);
    await clock.pass(20);
    assert.deepEqual(site.asked, [["a", "b"]]);
    assert.deepEqual(site.requests.map(({ path }) => path), ["/updates/a", "/updates/b"]);
});

// When they are refused

test("several refusals cause one request", async (t) => {
    const warnings = useConsole(t, "warn");
    const { clock, site, states } = await play(t, { a: {}, b: {}, c: {} });
    await clock.pass(1500);
    const before = states.length;
    site.held().forEach((request) => request.answer(unauthorized()));
    await clock.pass(1100);
    assert.deepEqual(site.asked, [["a", "b", "c"]]);
    assert.equal(site.held().length, 3);
    assert.equal(states.length, before);
    assert.deepEqual(warnings, []);
});

for (const name of ["push-expired", "push-denied"]) {
    test(`a channel comes back to its stream after ${name}`, async (t) => {
        const channels = { a: { location: LOCATION }, b: { location: LOCATION } };
        const { clock, site, states } = await play(t, channels, { withStreams: true });
        const open = stream();
        site.held()[0].answer(open.response);
        open.send(head("0:0,0:0"));
        open.send(`event: ${name}\ndata: {"channel": "a"}\n\n`);
        await clock.pass(1100);
        assert.deepEqual(site.asked, [["a", "b"]]);
        assert.match(site.held().at(-1).path, /^\/updates\/(a,b|b,a)$/);
        assert.ok(states.every(([, , { transport }]) => transport === "stream"));
    });
}

test("new tokens that are refused are not asked for in a loop", async (t) => {
    useRandom(t, 1);
    const warnings = useConsole(t, "warn");
    const { clock, site, states } = await play(t, { a: {} });
    for (let time = 0; time < 300; time += 1) {
        site.held().forEach((request) => request.answer(unauthorized()));
        await clock.pass(1000);
    }
    assert.ok(site.asked.length < 20, String(site.asked.length));
    assert.equal(last(states, "a")[1], "waiting");
    assert.equal(last(states, "a")[2].status, 401);
    assert.equal(warnings.length, 1);
    assert.ok(!warnings[0].join(" ").includes("token="));
});

// When there are none

test("a channel that is left out is gone, and the others go on", async (t) => {
    const { clock, site, states } = await play(t, { a: {}, b: {} });
    site.give = () => json({ b: makeUrl("b", 100) });
    await clock.pass(81_000);
    assert.deepEqual(last(states, "a").slice(1), [
        "gone",
        { status: 403, reason: "The channel may not be read any more." },
    ]);
    assert.deepEqual(site.held().map(({ path }) => path), ["/updates/b"]);
    await clock.pass(81_000);
    assert.deepEqual(site.asked.at(-1), ["b"]);
});

const LOGGED_OUT = {
    "401": () => status(401),
    "403": () => status(403),
    "a login page": (_, { redirect }) =>
        redirect === "manual"
            ? { type: "opaqueredirect", status: 0 }
            : new Response("<form>", { headers: { "Content-Type": "text/html" } }),
    "a login page of another origin": (_, { redirect }) =>
        redirect === "manual"
            ? { type: "opaqueredirect", status: 0 }
            : Promise.reject(new TypeError("Failed to fetch")),
};

for (const [name, give] of Object.entries(LOGGED_OUT)) {
    test(`who has logged out is told so once: ${name}`, async (t) => {
        const { clock, site, states } = await play(t, { a: {}, b: {} });
        site.give = give;
        site.held()[0].answer(unauthorized());
        await clock.pass(2000);
        assert.equal(last(states, "a")[1], "gone");
        assert.equal(last(states, "b")[1], "gone");
        const { asked, requests } = site;
        const counts = [asked.length, requests.length];
        await clock.pass(600_000);
        assert.deepEqual([asked.length, requests.length], counts);
        assert.equal(site.held().length, 0);
    });
}

test("a redirect to the URLs is followed", async (t) => {
    const { clock, site } = await play(t, { a: {} });
    const { give } = site;
    site.give = (ids, { redirect }) =>
        redirect === "manual" ? { type: "opaqueredirect", status: 0 } : give(ids);
    await clock.pass(81_000);
    assert.equal(site.held().length, 1);
    assert.equal(site.requests.length, 2);
});

test("a token URL that fails is asked again, with doubling waits", async (t) => {
    useRandom(t, 1);
    useConsole(t, "warn");
    const { clock, site, states } = await play(t, { a: {} });
    const { give } = site;
    const answers = [
        () => status(503),
        () => Promise.reject(new TypeError("Failed to fetch")),
        () => new Response("<h1>Maintenance</h1>"),
    ];
    site.give = (...args) => (answers.shift() ?? give)(...args);
    await clock.pass(80_500);
    assert.equal(site.asked.length, 1);
    await clock.pass(1000);
    assert.equal(site.asked.length, 2);
    await clock.pass(1000);
    assert.equal(site.asked.length, 2);
    await clock.pass(1000);
    assert.equal(site.asked.length, 3);
    assert.equal(last(states, "a")[1], "live"); // The old token is still valid.
    await clock.pass(4000);
    assert.equal(site.asked.length, 4);
    assert.equal(site.requests.length, 2);
});

test("a page without a token is told why, and tries again when it is online", async (t) => {
    useRandom(t, 1);
    useConsole(t, "warn");
    const { clock, site, updates, states } = await play(t, { a: {} });
    const { give } = site;
    site.give = () => status(500);
    site.held()[0].answer(unauthorized());
    await clock.pass(20_000);
    const [, state, detail] = last(states, "a");
    assert.equal(state, "waiting");
    assert.deepEqual([detail.status, detail.reason], [500, "The token URL has failed."]);
    site.give = give;
    updates.unsubscribe("a")(); // As when the network returns.
    await clock.pass(1500);
    assert.equal(site.held().length, 1);
});

test("a Retry-After of the token URL is respected", async (t) => {
    useConsole(t, "warn");
    const { clock, site } = await play(t, { a: {} });
    site.give = () => status(429, { "Retry-After": "60" });
    await clock.pass(81_000);
    assert.equal(site.asked.length, 1);
    await clock.pass(59_000);
    assert.equal(site.asked.length, 1);
    await clock.pass(3000);
    assert.equal(site.asked.length, 2);
});

test("nothing is asked for channels that were unsubscribed", async (t) => {
    const { clock, site, updates } = await play(t, { a: {}, b: {} });
    updates.unsubscribe("a");
    await clock.pass(81_000);
    assert.deepEqual(site.asked, [["b"]]);
    updates.close();
    await clock.pass(600_000);
    assert.equal(site.asked.length, 1);
});

test("a function of the page can give the URLs", async (t) => {
    useConsole(t, "warn");
    const asked = [];
    let isBroken = true;
    const tokenUrl = async (ids) => {
        asked.push(ids);
        if (isBroken) {
            throw new Error("no network");
        }
        return { a: makeUrl("a", 100) };
    };
    const { clock, site, states } = await play(t, { a: { tokenUrl }, b: { tokenUrl } });
    await clock.pass(80_500);
    isBroken = false;
    await clock.pass(1100);
    assert.deepEqual(asked, [["a", "b"], ["a", "b"]]);
    assert.deepEqual(site.asked, []);
    assert.deepEqual(site.held().map(({ path }) => path), ["/updates/a"]);
    assert.equal(last(states, "b")[1], "gone");
});

test("a function that never answers is called again", async (t) => {
    useConsole(t, "warn");
    let calls = 0;
    const tokenUrl = () => {
        calls += 1;
        return new Promise(() => {});
    };
    const { clock } = await play(t, { a: { tokenUrl } });
    await clock.pass(80_500);
    assert.equal(calls, 1);
    await clock.pass(32_000);
    assert.equal(calls, 2);
});

// All tabs

/** Open tabs, each with channels. */
async function openTabs(t, ...all) {
    const clock = useClock(t);
    const browser = useBrowser(t);
    const site = useSite(t);
    const opened = [];
    for (const channels of all) {
        const tab = { isFrozen: false, states: [], got: [] };
        const updates = client.createUpdates();
        streams.attach(updates);
        tabs.attach(updates);
        tokens.attach(updates);
        const shared = {};
        for (const [name, options] of Object.entries(channels)) {
            const channel = { share: "s", location: LOCATION, tokenUrl: "/tokens" };
            shared[name] = { url: makeUrl(name, 100), ...channel, ...options };
            updates.on(name, ({ data }) => tab.got.push([name, data]));
        }
        updates.onState((state, name, detail) => tab.states.push([name, state, detail]));
        browser.as(tab, () => updates.subscribe(shared));
        t.after(() => updates.close());
        for (let turn = 0; turn < 5; turn += 1) {
            await clock.pass(1);
        }
        opened.push(Object.assign(tab, { updates }));
    }
    return { clock, site, opened };
}

test("the leader of the tabs renews the tokens of all, and tells them", async (t) => {
    const { clock, site, opened } = await openTabs(t, { a: {} }, { a: {}, b: {} });
    await clock.pass(80_500);
    assert.deepEqual(site.asked, [["a", "b"]]);
    assert.equal(site.held().length, 1);
    const used = site.held()[0].url.searchParams.getAll("token");
    opened[0].updates.close();
    await clock.pass(10);
    const [{ url, path }] = site.held();
    assert.equal(path, "/updates/a,b");
    assert.deepEqual(url.searchParams.getAll("token"), used);
    await clock.pass(81_000);
    assert.deepEqual(site.asked, [["a", "b"], ["a", "b"]]);
});

test("all tabs are told that the user has logged out", async (t) => {
    const { clock, site, opened } = await openTabs(t, { a: {} }, { a: {} });
    site.give = () => json({});
    await clock.pass(81_000);
    for (const { states } of opened) {
        assert.equal(last(states, "a")[1], "gone");
    }
    await clock.pass(600_000);
    assert.deepEqual(site.asked, [["a"]]);
    assert.equal(site.held().length, 0);
});

test("a tab whose tokens come from a function has its own connection", async (t) => {
    const tokenUrl = (ids) => Object.fromEntries(ids.map((each) => [each, makeUrl(each, 100)]));
    const { clock, site, opened } = await openTabs(t, { a: {} }, { a: { tokenUrl } });
    assert.equal(site.held().length, 2);
    await clock.pass(81_000);
    assert.equal(site.held().length, 2);
    assert.equal(last(opened[1].states, "a")[2].shared, undefined);
});

test("the token of a new tab is used in place of one that is refused", async (t) => {
    useConsole(t, "warn");
    const { clock, site, opened } = await openTabs(t, { a: { tokenUrl: null } }, {});
    site.held()[0].answer(unauthorized());
    await clock.pass(1);
    assert.equal(site.held().length, 0);
    const url = makeUrl("a", 200);
    opened[1].updates.subscribe({ a: { url, share: "s", location: LOCATION } });
    for (let turn = 0; turn < 5; turn += 1) {
        await clock.pass(1);
    }
    assert.equal(site.held()[0].token, new URL(url, "http://x").searchParams.get("token"));
});
