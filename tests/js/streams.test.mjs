// What updates.streams.js asks, which streams it shares, and where it falls back.

import assert from "node:assert/strict";
import { test } from "node:test";

import streams from "../../pushserver/static/pushserver/updates.streams.js";
import { TIME, message, status, useConsole, useRandom } from "./stage.mjs";
import {
    event,
    head,
    last,
    listen,
    LOCATION,
    paths,
    play,
    stream,
} from "./streams_stage.mjs";

const START = "0:0";
const FALLBACK = 30_000;

// Which connections

test("channels of a location that the page knows share a stream at once", async (t) => {
    const { server } = await listen(t, ["a", "b", "c"]);
    assert.deepEqual(paths(server), ["/updates/a,b,c?last_event_id=0:0,0:0,0:0"]);
    const [request] = server.requests;
    assert.deepEqual(request.headers, { Accept: "text/event-stream" });
    assert.equal(request.credentials, "include");
    assert.equal(request.cache, "no-store");
});

test("a location is found by one stream, while other channels wait", async (t) => {
    const channels = { a: "/updates/a", b: "/updates/b", c: "/updates/c" };
    const [probe, open] = [stream(), stream()];
    const { clock, server, got } = await play(t, channels, probe.response, open.response);
    await clock.pass(1);
    assert.deepEqual(paths(server), [
        `/updates/a?last_event_id=${START}`,
        `/updates/a,b,c?last_event_id=${START},${START},${START}`,
    ]);
    probe.send(event(`${TIME}:1`, "a", "of a stream that was closed"));
    open.send(head("0:0,0:0,0:0") + event(`0:0,[${TIME}:1],0:0`, "b", "hello"));
    await clock.settle();
    assert.deepEqual(got, [["b", "hello"]]);
});

test("the only channel keeps the stream that has found its location", async (t) => {
    const open = stream();
    const { clock, server } = await play(t, { a: "/updates/a" }, open.response);
    open.send(head(START));
    await clock.pass(5000);
    assert.equal(server.requests.length, 1);
});

test("without a separator, each channel has a stream of its own", async (t) => {
    const channels = { a: "/updates/a", b: "/updates/b" };
    const { clock, server } = await play(t, channels, stream({}).response);
    await clock.pass(1);
    assert.deepEqual(paths(server), [
        `/updates/a?last_event_id=${START}`,
        `/updates/b?last_event_id=${START}`,
    ]);
});

test("other origins, queries and credentials have connections of their own", async (t) => {
    const location = LOCATION;
    const { server } = await play(t, {
        a: { url: "/updates/a?token=x", location },
        b: { url: "/updates/b?token=y", location },
        c: { url: "/updates/c", location, credentials: "same-origin" },
        d: { url: "https://other.example/updates/d", location },
    });
    assert.deepEqual(
        server.requests.map(({ url }) => url.split("&last_event_id")[0].split("?last")[0]),
        [
            "http://localhost/updates/a,b?token=x&token=y",
            "http://localhost/updates/c",
            "https://other.example/updates/d",
        ],
    );
});

test("a URL has at most 255 channels and 4 KiB", async (t) => {
    const ids = Array.from({ length: 300 }, (_, index) => `channel-${index}`);
    const { server } = await listen(t, ids);
    const urls = server.requests.map(({ url }) => url);
    assert.ok(urls.length > 1 && urls.length < 5);
    assert.ok(urls.every((url) => url.length <= 4096));
    const asked = urls.flatMap((url) => new URL(url).pathname.slice(9).split(","));
    assert.deepEqual(asked.sort(), ids.sort());
});

test("two names of a channel share a stream only from one position", async (t) => {
    const location = LOCATION;
    const url = "/updates/a";
    const { server } = await play(t, {
        one: { url, location },
        two: { url, location },
        three: { url, location, after: `${TIME}:1` },
    });
    assert.deepEqual(paths(server), [
        `/updates/a?last_event_id=${START}`,
        `/updates/a?last_event_id=${TIME}:1`,
    ]);
});

// Messages

test("each message goes to its channel, and is resumed after", async (t) => {
    const { clock, server, got, states, open } = await listen(t, ["a", "b"]);
    open.send(head("0:0,0:0"));
    open.send(event(`[${TIME}:1],0:0`, "a", 1) + event(`${TIME}:1,[${TIME}:2]`, "b", 2));
    open.send(event(`${TIME}:1,[${TIME}:2]`, "b", "again"));
    await clock.settle();
    assert.deepEqual(got, [
        ["a", 1],
        ["b", 2],
    ]);
    assert.deepEqual(last(states, "b"), ["b", "live", { transport: "stream" }]);
    await clock.pass(20_000);
    open.end();
    await clock.pass(2005);
    assert.equal(paths(server).at(-1), `/updates/a,b?last_event_id=${TIME}:1,${TIME}:2`);
    assert.equal(last(states, "a")[1], "live", "a stream ends after a while");
});

test("pieces of an event may be cut anywhere", async (t) => {
    const { clock, got, open } = await listen(t, ["a", "b"]);
    const bytes = new TextEncoder().encode(
        head("0:0,0:0") + event(`[${TIME}:1],0:0`, "a", "Grüße, 世界"),
    );
    for (const byte of bytes) {
        open.sendBytes(new Uint8Array([byte]));
    }
    for (let turn = 0; turn < 20; turn += 1) {
        await clock.settle();
    }
    assert.deepEqual(got, [["a", "Grüße, 世界"]]);
});

test("a gap is told before the message that comes after it", async (t) => {
    const { clock, gaps, got, open } = await listen(t, ["a", "b"]);
    open.send(head("0:0,0:0") + event(`[${TIME}:1],0:0`, "a", 1));
    open.send(`event: push-gap\ndata: {"channel": "b", "missed": "${TIME}:7"}\n\n`);
    open.send(event(`${TIME}:1,[${TIME}:8]`, "b", 2));
    await clock.settle();
    assert.deepEqual(gaps, [["b", `${TIME}:7`, 1]]);
    assert.equal(got.length, 2);
});

test("a start that is uncertain is told as a gap before the next message", async (t) => {
    const options = { after: `${TIME}:0`, missed: true };
    const { clock, gaps, open } = await listen(t, ["a"], options);
    open.send(head(`${TIME}:0`));
    await clock.settle();
    assert.deepEqual(gaps, []);
    open.send(event(`${TIME}:1`, "a", 1) + event(`${TIME}:2`, "a", 2));
    await clock.settle();
    assert.deepEqual(gaps, [["a", `${TIME}:0`, 0]]);
});

test("who subscribes or leaves later changes the stream, and nothing is lost", async (t) => {
    const { clock, server, updates, got, open } = await listen(t, ["a", "b"]);
    open.send(head("0:0,0:0") + event(`0:0,[${TIME}:2]`, "b", 1));
    await clock.settle();
    updates.unsubscribe("a");
    updates.subscribe({ c: { url: "/updates/c", location: LOCATION } });
    await clock.pass(2);
    assert.equal(paths(server).at(-1), `/updates/b,c?last_event_id=${TIME}:2,${START}`);
    open.send(event(`[${TIME}:3],${TIME}:2`, "a", "unsubscribed"));
    await clock.settle();
    assert.equal(got.length, 1);
});

// The end

test("a channel that is deleted is gone, and the others go on", async (t) => {
    const { clock, server, got, states, open } = await listen(t, ["a", "b"]);
    open.send(head("0:0,0:0"));
    open.send('event: push-gone\ndata: {"channel": "a"}\n\n');
    open.send(event(`0:0,[${TIME}:1]`, "b", 1));
    await clock.pass(5000);
    assert.deepEqual(last(states, "a").slice(0, 2), ["a", "gone"]);
    assert.equal(last(states, "a")[2].status, 410);
    assert.deepEqual(got, [["b", 1]]);
    assert.equal(server.requests.length, 1);
});

test("a channel that does not exist is polled alone until it does", async (t) => {
    useConsole(t, "warn");
    const { clock, server, states, open } = await listen(t, ["a", "b"]);
    open.send(`${head("-,0:0")}event: push-gone\ndata: {"channel": "a"}\n\n`);
    await clock.settle();
    assert.equal(last(states, "a")[1], "waiting");
    assert.equal(last(states, "a")[2].status, 404);
    assert.equal(last(states, "b")[1], "live");
    await clock.pass(31_000);
    assert.equal(server.requests.length, 2);
    assert.equal(server.requests[1].headers["If-None-Match"], "0");
    server.answer(message(0, "created", { "Push-Location": LOCATION }));
    await clock.pass(5);
    assert.deepEqual(paths(server).at(-1), `/updates/b,a?last_event_id=0:0,${TIME}:0`);
});

test("a server that is unavailable is asked again when it says", async (t) => {
    const { clock, server, states, open } = await listen(t, ["a", "b"]);
    open.send(
        'retry: 7000\nevent: push-unavailable\ndata: {"retry_after": 7}\n\n',
    );
    open.end();
    await clock.settle();
    assert.equal(last(states, "b")[1], "waiting");
    await clock.pass(6900);
    assert.equal(server.requests.length, 1);
    await clock.pass(1200);
    assert.equal(server.requests.length, 2);
});

test("a server that stops is asked again after its retry", async (t) => {
    const { clock, server, states, open } = await listen(t, ["a"]);
    open.send(head(START));
    await clock.pass(60_000);
    open.send("retry: 9000\n\n");
    open.end();
    await clock.settle();
    assert.equal(last(states, "a")[1], "waiting");
    await clock.pass(8900);
    assert.equal(server.requests.length, 1);
    await clock.pass(200);
    assert.equal(server.requests.length, 2);
});

test("all channels wait together when a stream is refused", async (t) => {
    useConsole(t, "warn");
    useRandom(t, 1);
    const { clock, server, states } = await play(
        t,
        {
            a: { url: "/updates/a", location: LOCATION },
            b: { url: "/updates/b", location: LOCATION },
        },
        status(403, { "Content-Type": "text/plain" }, "No.\n"),
    );
    await clock.pass(31_000);
    for (const name of ["a", "b"]) {
        const [, , detail] = states.find(([of, state]) => of === name && state === "waiting");
        assert.equal(detail.status, 403);
        assert.equal(detail.reason, "No.");
    }
    assert.deepEqual(paths(server), Array(2).fill("/updates/a,b?last_event_id=0:0,0:0"));
});

// Other transports

test("a stream without bytes within 3 seconds becomes batches", async (t) => {
    const { clock, server, got, states } = await listen(t, ["a", "b"]);
    await clock.pass(3100);
    assert.equal(paths(server).at(-1), "/updates/a,b?batch=1&last_event_id=0:0,0:0");
    const headers = { "Content-Type": "text/event-stream", "Push-Location": LOCATION };
    const body = event(`[${TIME}:1],0:0`, "a", 1) + event(`${TIME}:1,[${TIME}:1]`, "b", 2);
    server.answer(new Response(body, { headers }));
    await clock.pass(5);
    assert.deepEqual(got, [
        ["a", 1],
        ["b", 2],
    ]);
    assert.deepEqual(last(states, "a"), ["a", "live", { transport: "batch" }]);
    assert.match(paths(server).at(-1), /batch=1/);
    await clock.pass(FALLBACK);
    server.answer(new Response(": hi\n\n", { headers }));
    await clock.pass(5);
    assert.doesNotMatch(paths(server).at(-1), /batch/, "a stream is tried again");
});

test("a stream that breaks three times quickly becomes batches", async (t) => {
    const broken = [stream(), stream(), stream()];
    const location = LOCATION;
    const { clock, server } = await play(
        t,
        { a: { url: "/updates/a", location } },
        ...broken.map(({ response }) => response),
    );
    for (const each of broken) {
        each.send(head(START, 1000));
        await clock.settle();
        each.fail();
        await clock.pass(1005);
    }
    assert.equal(server.requests.length, 4);
    assert.match(paths(server).at(-1), /batch=1/);
});

for (const [name, answer] of Object.entries({
    "an old server": () => message(3, "hello"),
    Nchan: () => new Response(": hi\n\n", { headers: { "Content-Type": "text/event-stream" } }),
    "a location without streams": () => status(406),
})) {
    test(`${name} is polled, from the same position`, async (t) => {
        const { clock, server, got, states } = await play(
            t,
            { a: "/updates/a" },
            answer(),
            message(3, "hello"),
        );
        await clock.pass(5);
        assert.deepEqual(server.requests[1].headers, {
            "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
            "If-None-Match": "0",
        });
        assert.deepEqual(got, [["a", "hello"]]);
        assert.deepEqual(last(states, "a"), ["a", "live", { transport: "poll" }]);
    });
}

test("the page chooses the transport", async (t) => {
    const channels = {
        a: { url: "/updates/a", location: LOCATION, transport: "poll" },
        b: { url: "/updates/b", location: LOCATION, transport: "batch" },
    };
    const { server } = await play(t, channels);
    assert.deepEqual(paths(server), ["/updates/a", "/updates/b?batch=1&last_event_id=0:0"]);
});

// The page

test("a woken computer opens a new stream, after the last message", async (t) => {
    const { clock, server, open } = await listen(t, ["a", "b"]);
    open.send(head("0:0,0:0") + event(`[${TIME}:4],0:0`, "a", 1));
    await clock.pass(20_000);
    clock.sleep(60_000);
    await clock.pass(2010);
    assert.equal(server.requests.length, 2);
    assert.equal(paths(server)[1], `/updates/a,b?last_event_id=${TIME}:4,${START}`);
    assert.ok(server.requests[0].signal.aborted);
});

test("a stream that is silent for two minutes is opened anew", async (t) => {
    const { clock, server, open } = await listen(t, ["a"]);
    open.send(head(START));
    for (let time = 0; time < 5; time += 1) {
        await clock.pass(60_000);
        open.send(":\n\n");
    }
    assert.equal(server.requests.length, 1);
    await clock.pass(123_000);
    assert.equal(server.requests.length, 2);
});

test("an end of all subscriptions closes the stream at once", async (t) => {
    const { server, updates, open } = await listen(t, ["a", "b"]);
    open.send(head("0:0,0:0"));
    updates.close();
    assert.ok(server.requests[0].signal.aborted);
});

// The wire

test("lines end with CR, LF or both, and fields may be empty", () => {
    const events = [];
    const parser = new streams.EventParser((each) => events.push(each));
    for (const piece of ["\uFEFFid: 1\r", "\ndata:a\rdata:  b\n", "data\n\n:x\nretry: 5\n\n"]) {
        parser.feed(piece);
    }
    assert.deepEqual(events, [
        { id: "1", data: "a\n b\n" },
        { retry: "5", data: null },
    ]);
});

const BODIES = [
    // type, data, bytes
    ["image/png", "data:image/png;base64,AP8=", [0, 255]],
    [null, "data:application/octet-stream;base64,/w==", [255]],
    ["text/plain", "data:text/plain;base64,/w==", [255]],
    ["text/plain", "data:text/plain;base64,YQ==", "data:text/plain;base64,YQ=="],
    ["image/png", "data:image/png;base64,YQ==", "a"],
    ["text/plain", "Grüße", "Grüße"],
    [null, "data:application/octet-stream;base64,?", null],
];

for (const [type, data, expected] of BODIES) {
    test(`${data} of the type ${type} is read`, () => {
        const encode = (text) => [...new TextEncoder().encode(text)];
        const bytes = [...streams.readBytes(data, type)];
        assert.deepEqual(bytes, Array.isArray(expected) ? expected : encode(expected ?? data));
    });
}

test("a location is found below the root of its site", () => {
    const url = new URL("http://a/app/updates/news");
    const location = streams.readLocation(LOCATION, url);
    assert.equal(location.before, "/app/updates/");
    assert.equal(streams.findChannel(location, url), "news");
    const others = ["http://a/app/updates/x,y", "http://a/updates/x", "http://b/app/updates/x"];
    for (const other of [...others, "http://a/app/updates/", "http://a/app/updates/x?y=1"]) {
        assert.equal(streams.findChannel(location, new URL(other)), null);
    }
    assert.equal(streams.readLocation("nonsense", url), null);
    assert.equal(streams.readLocation(null, url), null);
});
