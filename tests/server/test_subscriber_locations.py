from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pushserver_channels.consumers import long_poll
from pushserver_channels.protocol import build_date, parse_date

from .exchanges import EPOCH, FUTURE, JSON, PAGE, Serve, id_headers, until_held

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_missing_channel_without_create_on_get_gets_404(
    serve: Serve, location: str
) -> None:
    """Without create_on_get, GET of a channel that does not exist gets 404."""
    site = serve(subscriber={"create_on_get": False})
    answer = await site.ask("GET", f"/{location}/a")
    assert answer.status == 404
    assert answer.body == b"There is no such channel.\n"
    assert await site.info("a") is None


async def test_interval_poll_creates_a_channel(serve: Serve) -> None:
    """With create_on_get, an interval poll creates the channel and gets 304."""
    site = serve()
    answer = await site.ask("GET", "/interval/a")
    assert (answer.status, answer.body) == (304, b"")
    assert await site.info("a") is not None


async def test_long_poll_creates_a_channel(serve: Serve) -> None:
    """With create_on_get, a long poll creates the channel and is held."""
    site = serve()
    held = await site.hold("/updates/a")
    info = await site.info("a")
    assert info is not None
    assert (info["subscribers"], info["messages"]) == (1, 0)
    await site.ask("DELETE", "/send-update/a")
    assert (await held.answer()).status == 410


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_messages_in_order(serve: Serve, location: str) -> None:
    """Each response has the id with which the client asks for the next message."""
    site = serve()
    bodies = [b"%d" % number for number in range(20)]
    for body in bodies:
        await site.post("a", body)
    headers: list[tuple[bytes, bytes]] = []
    seen = []
    for _ in bodies:
        answer = await site.ask("GET", f"/{location}/a", headers)
        assert answer.status == 200
        assert answer["push-gap"] is None
        headers = id_headers(answer)
        seen.append(answer.body)
    assert seen == bodies


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"if-none-match", b"5")],
        [(b"if-modified-since", EPOCH)],
        [(b"if-modified-since", EPOCH), (b"if-none-match", b"0")],
        [(b"if-modified-since", EPOCH), (b"if-none-match", b'"0"')],
        [(b"if-modified-since", EPOCH), (b"if-none-match", b'W/"0"')],
        [
            (b"if-modified-since", b"Thu, 1 Jan 1970 00:00:00 GMT"),
            (b"if-none-match", b"0"),
        ],
        [(b"if-modified-since", b"Wed, 31 Dec 1969 00:00:00 GMT")],
    ],
)
async def test_new_client_gets_the_oldest_message(
    serve: Serve, location: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """A client that starts gets the oldest stored message, without Push-Gap."""
    site = serve(store={"max_messages": 2})
    for body in (b"1", b"2", b"3"):
        await site.post("a", body)
    answer = await site.ask("GET", f"/{location}/a?_=1699", headers)
    assert (answer.status, answer.body) == (200, b"2")
    assert answer["push-gap"] is None


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize("form", [b"%d", b'"%d"', b'W/"%d"'])
async def test_forms_of_a_tag(serve: Serve, location: str, form: bytes) -> None:
    """A tag names the same message in each form to which a proxy rewrites it."""
    site = serve()
    await site.post("a", b"1")
    first = await site.ask("GET", f"/{location}/a")
    await site.post("a", b"2")
    assert first["last-modified"]
    assert first["etag"]
    headers = [
        (b"if-modified-since", first["last-modified"].encode()),
        (b"if-none-match", form % int(first["etag"])),
    ]
    answer = await site.ask("GET", f"/{location}/a", headers)
    assert answer.body == b"2"


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_date_without_a_tag(serve: Serve, location: str) -> None:
    """A date without a tag gets the first message of that second or a later one."""
    site = serve()
    for body in (b"1", b"2"):
        await site.post("a", body)
    first = await site.ask("GET", f"/{location}/a")
    date = (first["last-modified"] or "").encode()
    answer = await site.ask("GET", f"/{location}/a", [(b"if-modified-since", date)])
    assert answer.body == b"1"
    before = build_date(parse_date(date) - 1)
    answer = await site.ask("GET", f"/{location}/a", [(b"if-modified-since", before)])
    assert answer.body == b"1"


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize(
    ("header", "value", "sentence"),
    [
        (
            b"if-modified-since",
            b"garbage",
            b"The header If-Modified-Since is 'garbage'",
        ),
        (b"if-modified-since", b"", b"The header If-Modified-Since is ''"),
        (b"if-none-match", b"garbage", b"The header If-None-Match is 'garbage'"),
        (b"if-none-match", b"*", b"The header If-None-Match is '*'"),
        (b"if-none-match", b"\xff\x01", b"The header If-None-Match is '"),
    ],
)
async def test_invalid_id_header_gets_400(
    serve: Serve, location: str, header: bytes, value: bytes, sentence: bytes
) -> None:
    """An invalid id header gets 400 with a sentence, and has no other effect."""
    site = serve()
    answer = await site.ask("GET", f"/{location}/a", [(header, value)])
    assert answer.status == 400
    assert answer["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.startswith(sentence)
    assert answer.body.count(b"\n") == 1
    assert await site.info("a") is None


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize("header", [b"if-modified-since", b"if-none-match"])
async def test_repeated_id_header_gets_400(
    serve: Serve, location: str, header: bytes
) -> None:
    """An id header that is given twice gets 400, which a page can read."""
    site = serve(subscriber={"allow_origin": [PAGE.decode(), "https://example.com"]})
    headers = [(header, b"0"), (b"origin", PAGE), (header, b"0")]
    answer = await site.ask("GET", f"/{location}/a", headers)
    assert answer.status == 400
    assert b"is given twice" in answer.body
    assert answer["access-control-allow-origin"] == PAGE.decode()
    assert await site.info("a") is None


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize("zone", [b"-0001", b"-1200"])
async def test_ids_after_the_last_year(
    serve: Serve, location: str, zone: bytes
) -> None:
    """An id after the year 9999 causes no server error."""
    site = serve(subscriber={"timeout": 0.001})
    date = b"Fri, 31 Dec 9999 23:59:59 " + zone
    answer = await site.ask("GET", f"/{location}/a", [(b"if-modified-since", date)])
    assert answer.status in (304, 400)


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_the_headers_of_a_message(serve: Serve, location: str) -> None:
    """A response with a message has these headers and no others."""
    site = serve()
    posted = await site.post("a", b"news", [(b"content-type", b"x/y"), *JSON])
    time, _, tag = json.loads(posted.body)["last_message_id"].partition(":")
    answer = await site.ask("GET", f"/{location}/a")
    vary = "If-None-Match, If-Modified-Since"
    assert answer["vary"] == (f"{vary}, Accept" if location == "updates" else vary)
    assert sorted(each for each in answer.headers if each[0] != b"vary") == [
        (b"cache-control", f"no-cache, no-transform, etag={tag}".encode()),
        (b"content-length", b"4"),
        (b"content-type", b"x/y"),
        (b"etag", tag.encode()),
        (b"last-modified", build_date(int(time))),
        (b"x-content-type-options", b"nosniff"),
    ]


async def test_delayed_response_equals_an_immediate_one(serve: Serve) -> None:
    """A delayed response is byte for byte the immediate one."""
    site = serve(subscriber={"allow_origin": PAGE.decode()})
    await site.post("a", b"old")
    after = id_headers(await site.ask("GET", "/updates/a"))
    held = await site.hold("/updates/a", [*after, (b"origin", PAGE)])
    await site.post("a", b"new", [(b"content-type", b"x/y")])
    delayed = await held.answer()
    immediate = await site.ask("GET", "/updates/a", [*after, (b"origin", PAGE)])
    assert delayed == immediate
    polled = await site.ask("GET", "/interval/a", [*after, (b"origin", PAGE)])
    assert polled["vary"] == "If-None-Match, If-Modified-Since"
    for answer in (polled, immediate):
        answer.headers[:] = [each for each in answer.headers if each[0] != b"vary"]
    assert polled == immediate


@pytest.mark.parametrize("headers", [[], FUTURE])
async def test_long_poll_is_held(
    serve: Serve, headers: list[tuple[bytes, bytes]]
) -> None:
    """A long poll waits for the next message, also with a future id."""
    site = serve()
    held = await site.hold("/updates/a", headers)
    assert held.is_silent
    assert (await site.post("a")).status == 201
    answer = await held.answer()
    assert (answer.status, answer.body) == (200, b"news")
    # With a future id, messages may have been missed.
    assert (answer["push-gap"] is None) == (headers == [])


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_gap_by_a_deletion(serve: Serve, location: str) -> None:
    """Push-Gap names the last message of a deleted channel if the client missed it."""
    site = serve()
    await site.post("a", b"1")
    seen = id_headers(await site.ask("GET", f"/{location}/a"))
    missed = json.loads((await site.post("a", b"2", JSON)).body)["last_message_id"]
    await site.ask("DELETE", "/send-update/a")
    await site.post("a", b"3")
    answer = await site.ask("GET", f"/{location}/a", seen)
    assert (answer.body, answer["push-gap"]) == (b"3", missed)
    assert (await site.ask("GET", f"/{location}/a"))["push-gap"] is None


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_gap_by_a_clock_that_was_ahead(serve: Serve, location: str) -> None:
    """A client with a future id gets a Push-Gap for the message that it cannot get."""
    site = serve()
    skipped = json.loads((await site.post("a", b"1", JSON)).body)["last_message_id"]
    if location == "updates":
        waiting = await site.hold("/updates/a", FUTURE)
        await site.post("a", b"2")
        answer = await waiting.answer()
        assert (answer.body, answer["push-gap"]) == (b"2", skipped)
    else:
        answer = await site.ask("GET", "/interval/a", FUTURE)
        assert answer.status == 304


async def test_id_from_before_a_deletion_gets_the_next_message(serve: Serve) -> None:
    """A client that got 410 waits with its old id and gets the next message."""
    site = serve()
    for body in (b"1", b"2", b"3"):
        await site.post("a", body)
    last: list[tuple[bytes, bytes]] = []
    for _ in range(3):
        last = id_headers(await site.ask("GET", "/updates/a", last))
    held = await site.hold("/updates/a", last)
    await site.ask("DELETE", "/send-update/a")
    assert (await held.answer()).status == 410
    held = await site.hold("/updates/a", last)
    assert (await site.post("a", b"4")).status == 201
    assert (await held.answer()).body == b"4"
    # The new id is after the old ones, so the message is also found later.
    assert (await site.ask("GET", "/interval/a", last)).body == b"4"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        FUTURE,
        [(b"if-modified-since", b"Fri, 31 Dec 9999 23:59:59 GMT")],
    ],
)
async def test_interval_poll_without_a_message_gets_304(
    serve: Serve, headers: list[tuple[bytes, bytes]]
) -> None:
    """Without a message, an interval poll gets 304 with the client's own id.

    A client without an id gets the position before all messages.
    """
    answer = await serve().ask("GET", "/interval/a", headers)
    sent = dict(headers)
    assert (answer.status, answer.body) == (304, b"")
    told = dict(answer.headers)
    assert told[b"last-modified"] == sent.get(b"if-modified-since", EPOCH)
    assert told.get(b"etag") == sent.get(b"if-none-match", None if sent else b"0")
    assert told[b"vary"] == b"If-None-Match, If-Modified-Since"
    assert b"content-type" not in told


@pytest.mark.parametrize("status", [304, 408])
@pytest.mark.parametrize("headers", [[], FUTURE])
async def test_timeout_has_timeout_status_and_own_id(
    serve: Serve, status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    """After the timeout, a held request gets timeout_status and its own id.

    A client without an id gets the position before all messages.
    """
    site = serve(subscriber={"timeout": 0.001, "timeout_status": status})
    answer = await site.ask("GET", "/updates/a", headers)
    sent = dict(headers)
    assert (answer.status, answer.body) == (status, b"")
    told = dict(answer.headers)
    assert told[b"last-modified"] == sent.get(b"if-modified-since", EPOCH)
    assert told.get(b"etag") == sent.get(b"if-none-match", None if sent else b"0")
    assert (await site.post("a")).status == 202


@pytest.mark.parametrize("options", [{}, {"concurrency": "last"}])
@pytest.mark.parametrize("passthrough", [None, "/hears/"])
async def test_longest_wait_without_timeout(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    passthrough: str | None,
) -> None:
    """With timeout 0, a request that is held for an hour ends as by a timeout."""
    assert long_poll.LONGEST_WAIT == 3600
    monkeypatch.setattr(long_poll, "WATCH_AFTER", 0.001)
    monkeypatch.setattr(long_poll, "LONGEST_WAIT", 0.002)
    site = serve(
        subscriber={
            "timeout": 0,
            "timeout_status": 408,
            "passthrough": passthrough,
            **options,
        }
    )
    answer = await site.ask("GET", "/updates/a", FUTURE)
    assert answer.status == 408
    assert answer["etag"] == "7"


async def test_timeout_zero_has_no_timer(serve: Serve) -> None:
    """With timeout 0, a held request has no timer."""
    site = serve(subscriber={"timeout": 0})
    held = await site.hold("/updates/a")
    loop = asyncio.get_running_loop()
    timers = [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined]
    assert "LongPoll" not in repr(timers)
    await site.post("a")
    assert (await held.answer()).status == 200


async def test_answered_request_leaves_no_timer(serve: Serve) -> None:
    """A request that was answered leaves no timer behind."""
    site = serve(subscriber={"timeout": 1000})
    held = await site.hold("/updates/a")
    await site.post("a")
    await held.answer()
    loop = asyncio.get_running_loop()
    timers = [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined]
    assert "LongPoll" not in repr(timers)


async def test_last_holds_the_newest_subscriber(serve: Serve) -> None:
    """With concurrency last, an older subscriber gets 409, and the new one is held."""
    site = serve(subscriber={"concurrency": "last"})
    older = await site.hold("/updates/a")
    newer = site.exchange("GET", "/updates/a").start()
    conflict = await older.answer()
    assert conflict.status == 409
    assert conflict.body == b"Another subscriber holds this channel.\n"
    await until_held("a", 1)
    await site.post("a")
    assert (await newer.answer()).status == 200


async def test_first_holds_the_oldest_subscriber(serve: Serve) -> None:
    """With concurrency first, a new subscriber gets 409."""
    site = serve(subscriber={"concurrency": "first"})
    older = await site.hold("/updates/a")
    assert (await site.ask("GET", "/updates/a")).status == 409
    await site.post("a")
    assert (await older.answer()).status == 200


async def test_first_holds_a_new_subscriber_after_the_older_one_left(
    serve: Serve,
) -> None:
    """With concurrency first, a new subscriber is held after the older one left."""
    site = serve(subscriber={"concurrency": "first"})
    older = await site.hold("/updates/a")
    older.disconnect()
    await older.end()
    newer = await site.hold("/updates/a")
    await site.post("a")
    assert (await newer.answer()).status == 200


@pytest.mark.parametrize("location", ["updates", "interval"])
async def test_gap_by_max_messages(serve: Serve, location: str) -> None:
    """Push-Gap names the newest dropped message that the client missed."""
    site = serve(store={"max_messages": 2})
    await site.post("a", b"1")
    first = await site.ask("GET", f"/{location}/a")
    missed = []
    for body in (b"2", b"3", b"4", b"5"):
        posted = await site.post("a", body, JSON)
        missed.append(json.loads(posted.body)["last_message_id"])
    answer = await site.ask("GET", f"/{location}/a", id_headers(first))
    assert answer.body == b"4"
    assert answer["push-gap"] == missed[1]
    # After that message nothing is missed.
    answer = await site.ask("GET", f"/{location}/a", id_headers(answer))
    assert answer.body == b"5"
    assert answer["push-gap"] is None


@pytest.mark.parametrize("location", ["updates", "interval"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "PATCH", "get"])
async def test_other_methods_of_a_subscriber_location(
    serve: Serve, location: str, method: str
) -> None:
    """Any method other than GET and OPTIONS gets 405 with Allow."""
    site = serve()
    answer = await site.ask(method, f"/{location}/a", body=b"no message")
    assert answer.status == 405
    assert answer["allow"] == "GET, OPTIONS"
    assert await site.info("a") is None
