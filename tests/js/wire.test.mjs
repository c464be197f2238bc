// What is read from the wire, without a wire.

import assert from "node:assert/strict";
import { test } from "node:test";

import client from "../../pushserver/static/pushserver/updates.js";
import { DATE, TIME, useConsole, useRandom } from "./stage.mjs";

const { decode, fullJitter, parseId, readId, readRetryAfter, readTag, readText } = client;

const TAGS = [
    // etag, cacheControl, tag
    ["3", null, "3"],
    ["0", "no-cache", "0"],
    ["3", "etag=9", "3"],
    ['"3"', null, "3"],
    ['W/"3"', null, "3"],
    ['"3-gzip"', null, "3"],
    ['W/"3;gz"', null, "3"],
    ['W/"33a64df5"', "no-cache, etag=3", "3"],
    ['"33a64df5-5"', null, null],
    [null, "etag=3", "3"],
    [null, "no-cache, no-transform, etag=12", "12"],
    [null, 'no-cache, etag="12", private', "12"],
    [null, 'etag=W/"12"', "12"],
    [null, "no-cache,ETag=12", "12"],
    [null, "x-etag=12", null],
    [null, "etag=1a", null],
    [null, null, null],
    ["", "", null],
];

for (const [etag, cacheControl, tag] of TAGS) {
    test(`the tag of Etag ${etag} and Cache-Control ${cacheControl} is ${tag}`, () => {
        assert.equal(readTag(etag, cacheControl), tag);
    });
}

test("an id is the seconds of Last-Modified and the number of Etag", () => {
    const headers = new Headers({ "Last-Modified": DATE, Etag: "7" });
    assert.deepEqual(readId(headers), { date: DATE, tag: "7", text: `${TIME}:7` });
});

test("an id that is given with zeros in front is the same id", () => {
    assert.equal(parseId(`0${TIME}:3`).text, `${TIME}:3`);
});

test("without a readable date or tag there is no id", () => {
    assert.equal(readId(new Headers({ "Last-Modified": DATE })), null);
    assert.equal(readId(new Headers({ Etag: "7" })), null);
    assert.equal(readId(new Headers({ "Last-Modified": "soon", Etag: "7" })), null);
});

test("an id of channel info becomes the headers that name it", () => {
    assert.deepEqual(parseId("0:0"), {
        date: "Thu, 01 Jan 1970 00:00:00 GMT",
        tag: "0",
        text: "0:0",
    });
    assert.equal(parseId(`${TIME}:3`).date, DATE);
});

for (const text of ["", "12", "12:", ":1", "12:x", "-1:0", "1:2:3", " 1:2"]) {
    test(`${JSON.stringify(text)} is refused as an id`, () => {
        assert.throws(() => parseId(text), TypeError);
    });
}

const RETRY_AFTERS = [
    // value, milliseconds
    ["3", 3000],
    [" 0 ", 0],
    ["Sun, 22 Nov 2026 12:00:05 GMT", 5000],
    ["Sun, 22 Nov 2026 11:00:00 GMT", 0],
    ["99999999", 3600 * 1000],
    ["soon", null],
    ["", null],
    [null, null],
];

for (const [value, delay] of RETRY_AFTERS) {
    test(`Retry-After ${value} asks to wait ${delay} ms`, () => {
        assert.equal(readRetryAfter(value, TIME * 1000), delay);
    });
}

test("waits are up to 1 s after the first failure, doubling to 30 s", (t) => {
    useRandom(t, 1);
    assert.deepEqual(
        [0, 1, 2, 3, 4, 5, 6, 100].map(fullJitter),
        [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000],
    );
});

test("waits are anything from nothing to their limit, so that clients spread out", (t) => {
    useRandom(t, 0);
    assert.equal(fullJitter(5), 0);
    useRandom(t, 0.5);
    assert.equal(fullJitter(1), 1000);
});

const TEXTS = [
    // content type, bytes, text
    ["text/plain; charset=iso-8859-1", [0x47, 0xe9], "Gé"],
    ["text/plain;charset=ISO-8859-1", [0xe9], "é"],
    ['text/html; charset="windows-1251"; x=y', [0xe6], "ж"],
    ["text/plain; format=flowed; Charset = iso-8859-15", [0xa4], "€"],
    ["application/json; charset=utf-16le", [0x7b, 0, 0x7d, 0], "{}"],
    ["text/plain; charset=shift_jis", [0x82, 0xa0], "あ"],
    ["text/plain; charset=utf-8", [0xc3, 0xa9], "é"],
    ["text/plain", [0xc3, 0xa9], "é"],
    ["text/plain; charset=nobody-knows", [0xc3, 0xa9], "é"],
    ["text/plain; charset=", [0xc3, 0xa9], "é"],
    ["text/plain; notcharset=iso-8859-1", [0xc3, 0xa9], "é"],
    [null, [0xc3, 0xa9], "é"],
    ["", [], ""],
];

for (const [contentType, bytes, text] of TEXTS) {
    test(`a body of the type ${contentType} is read in its charset`, () => {
        assert.equal(readText(new Uint8Array(bytes), contentType), text);
    });
}

test("a body of a JSON type is decoded, whatever it holds", () => {
    assert.deepEqual(decode('{"a": 1}', "application/json; charset=utf-8"), { a: 1 });
    assert.equal(decode("5", "text/json"), 5);
    assert.equal(decode("5", "application/x-json"), 5);
    assert.equal(decode("null", "application/problem+json"), null);
});

test("JSON of another type or none is decoded as well, as old publishers send it", () => {
    const form = "application/x-www-form-urlencoded";
    assert.deepEqual(decode(' {"type": "a"}', form), { type: "a" });
    assert.deepEqual(decode("[1]", null), [1]);
});

test("what is no JSON stays the text that it is", () => {
    assert.equal(decode("hello", "text/plain"), "hello");
    assert.equal(decode("5", "text/plain"), "5");
    assert.equal(decode("{curly}", null), "{curly}");
    assert.equal(decode("", null), "");
});

test("a body that says it is JSON and is not is reported and stays a text", (t) => {
    const lines = useConsole(t, "error");
    assert.equal(decode("{", "application/json"), "{");
    assert.equal(lines.length, 1);
});
