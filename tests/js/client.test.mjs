// What the client asks, when it asks, and what it tells the page.

import assert from "node:assert/strict";
import { test } from "node:test";

import client from "../../pushserver/static/pushserver/updates.js";
import {
    DATE,
    TIME,
    message,
    status,
    useConsole,
    useRandom,
} from "./stage.mjs";
import { URL_A, names, play } from "./client_stage.mjs";

const gaps = ({ requests }) =>
    requests.slice(1).map(({ at }, index) => at - requests[index].at);

test("a page starts at the epoch with tag 0 and sends credentials", async (t) => {
    const { server } = await play(t, []);
    const [request] = server.requests;
    assert.equal(request.url, URL_A);
    assert.deepEqual(request.headers, {
        "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
        "If-None-Match": "0",
    });
    assert.equal(request.credentials, "include");
    assert.equal(request.cache, "no-store");
});

test("a page starts at a position that it gives", async (t) => {
    const { server } = await play(t, [], { url: URL_A, after: `${TIME}:4` });
    assert.deepEqual(server.requests[0].headers, {
        "If-Modified-Since": DATE,
        "If-None-Match": "4",
    });
});

test("who unsubscribes while it is told the state can subscribe again", async (t) => {
    const { clock, server, updates, got } = await play(t, []);
    let undo = updates.unsubscribe("a");
    await clock.settle();
    let count = 0;
    updates.onState(() => {
        count += 1;
        if (count === 1) {
            undo = updates.unsubscribe("a");
        }
    });
    undo();
    await clock.pass(1);
    undo();
    await clock.pass(1);
    server.answer(message(1, "again"));
    await clock.settle();
    assert.deepEqual(got, ["again"]);
});

test("who unsubscribes when told that it is live hears the message later", async (t) => {
    const { clock, server, updates, got } = await play(t, []);
    let subscribe = null;
    const undo = updates.onState((state) => {
        if (state === "live") {
            undo();
            subscribe = updates.unsubscribe("a");
        }
    });
    server.answer(message(1, "hello"));
    await clock.settle();
    assert.deepEqual(got, []);
    server.answers.push(message(1, "hello"));
    subscribe();
    await clock.pass(1);
    assert.deepEqual(got, ["hello"]);
});

test("a position that is none is refused when it is given", () => {
    const updates = client.createUpdates();
    assert.throws(() => updates.subscribe({ a: { url: URL_A, after: "now" } }), /id/);
});

test("credentials can be kept at home", async (t) => {
    const channel = { url: URL_A, credentials: "same-origin" };
    const { server } = await play(t, [], channel);
    assert.equal(server.requests[0].credentials, "same-origin");
});

test("after a message the next one is asked for at once, by its id", async (t) => {
    const { server, got } = await play(t, [message(0, 1), message(1, 2)]);
    assert.deepEqual(got, [1, 2]);
    assert.deepEqual(gaps(server), [0, 0]);
    assert.deepEqual(server.requests[2].headers, {
        "If-Modified-Since": DATE,
        "If-None-Match": "1",
    });
});

for (const code of [304, 408]) {
    test(`after ${code} the same is asked for at once`, async (t) => {
        const { clock, server } = await play(t, [message(3, 1)]);
        await clock.pass(55_000);
        server.answer(status(code));
        await clock.pass(0);
        assert.equal(server.requests.length, 3);
        assert.equal(server.requests[2].headers["If-None-Match"], "3");
    });
}

test("a location that holds nothing is asked once a second", async (t) => {
    const { clock, server } = await play(t, Array(10).fill(status(304)));
    await clock.pass(10_000);
    assert.deepEqual(gaps(server), [...Array(5).fill(0), ...Array(5).fill(1000)]);
});

test("errors are met with doubling waits, and a success forgets them", async (t) => {
    useRandom(t, 1);
    const failed = new TypeError("Failed to fetch");
    const { clock, server, got } = await play(t, [
        ...[failed, status(500), status(502), failed, failed, failed, failed],
        message(0, "x"),
        failed,
    ]);
    await clock.pass(120_000);
    assert.deepEqual(
        gaps(server).slice(0, 9),
        [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 0, 1000],
    );
    assert.deepEqual(got, ["x"]);
});

test("a proxy that cuts long requests does not count as overload", async (t) => {
    useRandom(t, 1);
    const { clock, server } = await play(t, []);
    for (let time = 0; time < 5; time += 1) {
        await clock.pass(31_000);
        server.answer(status(504));
        await clock.pass(1000);
    }
    assert.deepEqual(new Set(gaps(server)), new Set([32_000]));
});

test("the server's Retry-After is waited for, in seconds or until a date", async (t) => {
    useRandom(t, 0.5);
    const { clock, server } = await play(t, [
        status(503, { "Retry-After": "7" }),
        status(503, { "Retry-After": new Date((TIME + 40) * 1000).toUTCString() }),
        status(429, { "Retry-After": "2" }),
    ]);
    await clock.pass(60_000);
    const [first, , third] = gaps(server);
    assert.equal(first, 7500);
    assert.equal(server.requests[2].at, (TIME + 40) * 1000 + 500);
    assert.equal(third, 2500);
});

for (const code of [400, 401, 403, 404, 409]) {
    test(`${code} is told to the page and tried again slowly`, async (t) => {
        const warnings = useConsole(t, "warn");
        useRandom(t, 0);
        const refused = () => status(code, { "Content-Type": "text/plain" }, "No.\n");
        const { clock, server, states } = await play(t, [refused(), refused()]);
        assert.deepEqual(states.at(-1), [
            "waiting",
            { status: code, reason: "No.", retryIn: 15_000 },
        ]);
        await clock.pass(29_000);
        assert.deepEqual(gaps(server), [15_000]);
        assert.equal(warnings.length, 1, "told once, not each time");
    });
}

const deleted = () =>
    status(410, { "Content-Type": "text/plain; charset=utf-8" }, "It was deleted.\n");

test("410 with a sentence ends the subscription and tells it", async (t) => {
    const { clock, server, updates, states } = await play(t, [deleted()]);
    assert.deepEqual(states, [
        ["connecting", {}],
        ["gone", { status: 410, reason: "It was deleted." }],
    ]);
    await clock.pass(300_000);
    assert.equal(server.requests.length, 1);
    updates.subscribe({ a: URL_A });
    await clock.pass(1);
    assert.equal(server.requests.length, 2, "it can be subscribed to again");
});

test("a channel that is gone can be subscribed to again where it is told", async (t) => {
    const { clock, server, updates } = await play(t, []);
    updates.onState((state) => state === "gone" && updates.subscribe({ a: URL_A }));
    server.answer(deleted());
    await clock.pass(1);
    assert.equal(server.requests.length, 2);
});

const EMPTY_410S = {
    "an empty 410": () => status(410, { Etag: "0" }),
    "a 410 with a page of HTML": () =>
        status(410, { "Content-Type": "text/html" }, "<h1>410 Gone</h1>"),
    "a 410 with nothing but space": () =>
        status(410, { "Content-Type": "text/plain" }, "\r\n"),
};

for (const [name, answer] of Object.entries(EMPTY_410S)) {
    test(`${name} is no end: nginx with Nchan restarts`, async (t) => {
        useRandom(t, 0.5);
        const { clock, server, got, states } = await play(t, [message(3, "before")]);
        await clock.pass(10_000);
        server.answer(answer());
        await clock.pass(0);
        assert.deepEqual(states.at(-1), [
            "waiting",
            { status: 410, reason: "", retryIn: 500 },
        ]);
        await clock.pass(500);
        assert.equal(server.requests.length, 3);
        assert.equal(server.requests[2].headers["If-None-Match"], "3");
        server.answer(message(4, "after"));
        await clock.pass(0);
        assert.deepEqual(got, ["before", "after"]);
        assert.equal(states.at(-1)[0], "live");
    });
}

test("an empty 410 at each request is met with doubling waits", async (t) => {
    useRandom(t, 1);
    const answers = Array.from({ length: 6 }, () => status(410));
    const { clock, server } = await play(t, answers);
    await clock.pass(70_000);
    assert.deepEqual(gaps(server), [1000, 2000, 4000, 8000, 16_000, 30_000]);
});

// A proxy that compares ids itself

const LATER = "Sun, 22 Nov 2026 12:00:07 GMT";
const wrong304 = (tag = 0) => status(304, { "Last-Modified": LATER, Etag: String(tag) });

test("a 304 of another message is told, and asked again with a quoted tag", async (t) => {
    const warnings = useConsole(t, "warn");
    const { server, got, states } = await play(t, [
        ...[message(0, "one"), wrong304()],
        message(0, "two", { "Last-Modified": LATER }),
    ]);
    assert.deepEqual(got, ["one", "two"]);
    assert.deepEqual(
        server.requests.map(({ headers }) => headers["If-None-Match"]),
        ["0", "0", '"0"', '"0"'],
    );
    assert.deepEqual(gaps(server), [0, 0, 0]);
    const [, detail] = states.find(([state]) => state === "waiting");
    assert.equal(detail.status, 304);
    assert.match(detail.reason, /proxy/);
    assert.equal(warnings.length, 1);
    assert.equal(states.at(-1)[0], "live");
});

test("a page that starts is given what a proxy took for the epoch's", async (t) => {
    useConsole(t, "warn");
    const { got } = await play(t, [wrong304(), message(0, "one")]);
    assert.deepEqual(got, ["one"]);
});

test("a message that a wrong 304 lost for good is told as a gap", async (t) => {
    useConsole(t, "warn");
    const { clock, server, updates, got } = await play(t, []);
    const gapsTold = [];
    updates.onGap("a", (missed) => gapsTold.push([missed, got.length]));
    server.answer(wrong304());
    await clock.settle();
    server.answer(message(1, "next", { "Last-Modified": LATER }));
    await clock.settle();
    server.answer(message(2, "another", { "Last-Modified": LATER }));
    await clock.settle();
    assert.deepEqual(got, ["next", "another"]);
    assert.deepEqual(gapsTold, [[`${TIME + 7}:0`, 0]]);
});

test("a wrong 304 in spite of quotes is tried again slowly", async (t) => {
    useConsole(t, "warn");
    useRandom(t, 0);
    const { clock, server, states } = await play(t, [wrong304(), wrong304()]);
    assert.equal(states.at(-1)[0], "waiting");
    assert.equal(states.at(-1)[1].status, 304);
    await clock.pass(20_000);
    assert.deepEqual(gaps(server), [0, 15_000]);
});

test("a server that cannot read a quoted tag is asked with a bare one", async (t) => {
    useConsole(t, "warn");
    useRandom(t, 0);
    const { clock, server } = await play(t, [wrong304(), status(400)]);
    await clock.pass(20_000);
    assert.deepEqual(
        server.requests.map(({ headers }) => headers["If-None-Match"]),
        ["0", '"0"', "0"],
    );
});

test("a 304 with the page's own id is no wrong one, in any form of a date", async (t) => {
    const own = ["Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 1 Jan 1970 00:00:00 GMT"];
    for (const [after, date] of [...own.map((each) => ["", each]), [`0${TIME}:4`, DATE]]) {
        await t.test(`${after} ${date}`, async (t) => {
            const { server, states } = await play(
                t,
                [status(304, { "Last-Modified": date })],
                { url: URL_A, after },
            );
            assert.deepEqual(names(states), ["connecting", "live"]);
            assert.doesNotMatch(server.requests[1].headers["If-None-Match"], /"/);
        });
    }
});

// The page

test("a prerendered page asks when it is shown, not before", async (t) => {
    const page = new EventTarget();
    Object.assign(page, { readyState: "complete", prerendering: true });
    globalThis.document = page;
    t.after(() => delete globalThis.document);
    const { clock, server, states } = await play(t, []);
    await clock.pass(60_000);
    assert.equal(server.requests.length, 0);
    assert.deepEqual(states, []);
    page.prerendering = false;
    page.dispatchEvent(new Event("prerenderingchange"));
    await clock.pass(1);
    assert.equal(server.requests.length, 1);
});

test("what was unsubscribed before a page was shown is not asked for", async (t) => {
    const page = new EventTarget();
    Object.assign(page, { readyState: "complete", prerendering: true });
    globalThis.document = page;
    t.after(() => delete globalThis.document);
    const { clock, server, updates } = await play(t, []);
    updates.unsubscribe("a");
    page.dispatchEvent(new Event("prerenderingchange"));
    await clock.pass(1);
    assert.equal(server.requests.length, 0);
});

test("a message is read in the charset of its type", async (t) => {
    const headers = {
        "Content-Type": "text/plain; charset=iso-8859-1",
        "Last-Modified": DATE,
        Etag: "0",
    };
    const { got } = await play(t, [new Response(new Uint8Array([0x47, 0xfc]), { headers })]);
    assert.deepEqual(got, ["Gü"]);
});

test("a message is not given twice, and repeating does not make the page spin", async (t) => {
    const again = () => message(5, "first");
    const { clock, server, got } = await play(t, [
        ...[again(), again(), again(), message(6, "second"), again()],
    ]);
    await clock.pass(60_000);
    assert.deepEqual(got, ["first", "second"]);
    assert.equal(server.requests.length, 6);
    assert.equal(server.requests[5].headers["If-None-Match"], "6");
});

test("not every id is remembered for ever, but many are", async (t) => {
    const many = Array.from({ length: 300 }, (_, tag) => message(tag, tag));
    const old = [message(299, "again"), message(200, "old")];
    const { clock, got } = await play(t, [...many, ...old]);
    await clock.pass(60_000);
    assert.equal(got.length, 300);
});

test("the message of the position that the page gave is not given", async (t) => {
    const channel = { url: URL_A, after: `${TIME}:4` };
    const { clock, got } = await play(t, [message(4, "old"), message(5, "new")], channel);
    await clock.pass(5000);
    assert.deepEqual(got, ["new"]);
});

test("an older id that was not seen is given: servers lose stores and clocks", async (t) => {
    const older = { "Last-Modified": "Sun, 22 Nov 2026 11:00:00 GMT" };
    const { server, got } = await play(t, [message(9, 1), message(0, 2, older)]);
    assert.deepEqual(got, [1, 2]);
    assert.equal(server.requests[2].headers["If-Modified-Since"], older["Last-Modified"]);
});

test("an answer without an id is not given for ever, and the page is told", async (t) => {
    const warnings = useConsole(t, "warn");
    const anonymous = new Response("{}", { headers: { "Last-Modified": DATE } });
    const { clock, server, got, states } = await play(t, [anonymous, anonymous]);
    await clock.pass(10_000);
    assert.equal(server.requests.length, 1);
    assert.deepEqual(got, []);
    assert.equal(states.at(-1)[0], "waiting");
    assert.match(warnings[0][0], /Last-Modified and Etag/);
});
