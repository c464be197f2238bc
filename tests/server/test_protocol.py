from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushserver_channels.exceptions import BadRequest, InvalidMessageId
from pushserver_channels.messages import START, ChannelInfo, MessageId
from pushserver_channels.protocol import (
    build_channel_info,
    build_date,
    build_message_headers,
    build_message_id,
    build_retry_after,
    choose_info_type,
    fold_headers,
    parse_date,
    parse_message_id,
    parse_tag,
)

#: The date that RFC 9110 shows in all three forms.
NOVEMBER = 784_111_777

#: The last second that a date can express, because years have four digits.
LAST_SECOND = 253_402_300_799


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", NOVEMBER),
        (b"Sun, 6 Nov 1994 08:49:37 GMT", NOVEMBER),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", NOVEMBER),
        (b"Sun Nov  6 08:49:37 1994", NOVEMBER),
        (b"Sun Nov 06 08:49:37 1994", NOVEMBER),
        (b"Sun, 06 Nov 1994 08:49:37 UTC", NOVEMBER),
        (b"Sun, 06 Nov 1994 08:49:37 +0000", NOVEMBER),
        (b"Sun, 06 Nov 1994 08:49:37 -0000", NOVEMBER),
        (b"Sun, 06 Nov 1994 09:49:37 +0100", NOVEMBER),
        (b"Sun, 06 Nov 1994 03:19:37 -0530", NOVEMBER),
        (b"Sunday, 06-Nov-94 09:49:37 +0100", NOVEMBER),
        (b"Sunday, 06-Nov-94 03:49:37 -0500", NOVEMBER),
        (b"  Sun, 06 Nov 1994 08:49:37 GMT\t", NOVEMBER),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Thu, 1 Jan 1970 00:00:00 GMT", 0),
        (b"Thursday, 01-Jan-70 00:00:00 GMT", 0),
        (b"Thu Jan  1 00:00:00 1970", 0),
        (b"Thu, 01 Jan 1970 01:00:00 +0100", 0),
        (b"Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
        (b"Tue, 19 Jan 2038 03:14:08 GMT", 2**31),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", LAST_SECOND),
        (b"Wed, 31 Dec 1969 23:59:59 GMT", -1),
        (b"Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
        (b"Saturday, 31-Dec-16 23:59:60 GMT", 1_483_228_800),
        (b"Sat Dec 31 23:59:60 2016", 1_483_228_800),
        (b"Sun, 01 Jan 2017 00:59:60 +0100", 1_483_228_800),
        (b"Sun, 06 Nov 1994 08:49:60 GMT", NOVEMBER + 23),
        (b"Fri, 31 Dec 9999 23:59:60 GMT", LAST_SECOND),
    ],
)
def test_dates(text: bytes, seconds: int) -> None:
    """A date is read in each form of RFC 9110, and with a numeric zone."""
    assert parse_date(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"0",
        b"1699",
        b"yesterday",
        b"garbage, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 CET",
        b"Sun, 06 Nov 1994 08:49:37 GMT+1",
        b"Sun, 06 Nov 1994 08:49:37 +1",
        b"Sun, 06 Nov 1994 08:49:37 +9999",
        b"Sun, 06 Nov 1994 08:49 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:60:60 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nix 1994 08:49:37 GMT",
        b"Sun, 06 Nov 94 08:49:37 GMT",
        b"Sun, 06 Nov 19940 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT; length=5",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT\x00",
        b"1994-11-06T08:49:37Z",
        b'"Sun, 06 Nov 1994 08:49:37 GMT"',
        b"Sun, \xd9\xa0\xd9\xa6 Nov 1994 08:49:37 GMT",
        b"\xff\xfe",
        b"9" * 5000,
        b"Sun, " * 1000,
    ],
)
def test_invalid_dates_are_refused(text: bytes) -> None:
    """An invalid date is refused with a sentence that names the header and value."""
    with pytest.raises(InvalidMessageId) as refusal:
        parse_date(text)
    assert str(refusal.value).startswith("The header If-Modified-Since is '")
    assert str(refusal.value).endswith(", not a date as in a Last-Modified.")
    assert len(str(refusal.value)) < 500
    assert refusal.value.status == 400


@given(st.integers(0, LAST_SECOND))
@example(0)
@example(LAST_SECOND)
def test_dates_round_trip(seconds: int) -> None:
    """Each second of Unix time is read back from the date that is built from it."""
    assert parse_date(build_date(seconds)) == seconds


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2067, 12, 31)),
    st.integers(-23 * 60, 23 * 60),
)
def test_zones_round_trip(naive: datetime, offset: int) -> None:
    """A date with any numeric zone is the same second as in GMT."""
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset)), microsecond=0)
    text = format_datetime(moment).encode()
    assert parse_date(text) == moment.timestamp()


@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%c"]
)
@given(
    st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2067, 12, 31)),
)
def test_all_date_formats_agree(form: str, naive: datetime) -> None:
    """All forms of a date name the same second."""
    moment = naive.replace(tzinfo=timezone.utc, microsecond=0)
    assert parse_date(moment.strftime(form).encode()) == moment.timestamp()


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_header_value_is_a_date_or_refused(text: bytes) -> None:
    """Any value of If-Modified-Since is either a date or refused."""
    try:
        assert isinstance(parse_date(text), int)
    except InvalidMessageId as refusal:
        assert str(refusal)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (b"3", 3),
        (b'"3"', 3),
        (b'W/"3"', 3),
        (b"0", 0),
        (b'"0"', 0),
        (b'W/"0"', 0),
        (b"007", 7),
        (b" 12\t", 12),
        (b"9" * 18, 999_999_999_999_999_999),
    ],
)
def test_tags(text: bytes, tag: int) -> None:
    """A tag is read bare, quoted and weak, as proxies rewrite it."""
    assert parse_tag(text) == tag


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"*",
        b"-1",
        b"+1",
        b"1.0",
        b"0x3",
        b"1_000",
        b"abc",
        b'"3',
        b'3"',
        b"W/3",
        b'w/"3"',
        b'""',
        b'W/""',
        b'"3", "4"',
        b"3, 4",
        b"3 4",
        b"3\x00",
        b"\xb3",
        "٣".encode(),
        b"9" * 5000,
        b"\xa0" * 60 + b"3",
    ],
)
def test_invalid_tags_are_refused(text: bytes) -> None:
    """An invalid tag is refused with a sentence that names the header and value."""
    with pytest.raises(InvalidMessageId) as refusal:
        parse_tag(text)
    assert str(refusal.value).startswith("The header If-None-Match is '")
    assert str(refusal.value).endswith(", not a number as in an Etag.")
    assert len(str(refusal.value)) < 500


@given(
    st.integers(0, 10**18 - 1), st.sampled_from(["%d", '"%d"', 'W/"%d"', "  %d", "%d "])
)
def test_tags_round_trip(tag: int, form: str) -> None:
    """Each tag is read back from each form in which a client may send it."""
    assert parse_tag((form % tag).encode()) == tag


@given(st.binary(max_size=60))
def test_any_header_value_is_a_tag_or_refused(text: bytes) -> None:
    """Any value of If-None-Match is either a number or refused."""
    try:
        assert parse_tag(text) >= 0
    except InvalidMessageId as refusal:
        assert str(refusal)


NOVEMBER_DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("headers", "message_id"),
    [
        ({}, START),
        ({b"if-none-match": b"5"}, START),
        ({b"if-modified-since": NOVEMBER_DATE}, MessageId(NOVEMBER, -1)),
        (
            {b"if-modified-since": NOVEMBER_DATE, b"if-none-match": b"5"},
            MessageId(NOVEMBER, 5),
        ),
        (
            {
                b"if-modified-since": b"Thu, 01 Jan 1970 00:00:00 GMT",
                b"if-none-match": b"0",
            },
            MessageId(0, 0),
        ),
        (
            {
                b"if-modified-since": b"Wed, 31 Dec 1969 00:00:00 GMT",
                b"if-none-match": b"0",
            },
            MessageId(0, 0),
        ),
    ],
)
def test_message_ids(headers: dict[bytes, bytes], message_id: MessageId) -> None:
    """The headers name the last message of a client, or none."""
    assert parse_message_id(headers) == message_id


@pytest.mark.parametrize(
    "headers",
    [
        {b"if-none-match": b"x"},
        {b"if-modified-since": b"x"},
        {b"if-modified-since": NOVEMBER_DATE, b"if-none-match": b"x"},
        {b"if-modified-since": b"x", b"if-none-match": b"5"},
    ],
)
def test_invalid_message_ids_are_refused(headers: dict[bytes, bytes]) -> None:
    """Each of the two headers is checked, even without the other one."""
    with pytest.raises(InvalidMessageId):
        parse_message_id(headers)


def test_date_without_a_tag_is_before_its_second() -> None:
    """A date without a tag is before that second and after the previous one."""
    found = parse_message_id({b"if-modified-since": NOVEMBER_DATE})
    assert MessageId(NOVEMBER - 1, 10**17) < found < MessageId(NOVEMBER, 0)


@given(st.integers(0, LAST_SECOND), st.integers(-1, 10**18 - 1))
def test_message_ids_round_trip(time: int, tag: int) -> None:
    """An id is read back when a client returns the headers that it got."""
    last_seen = MessageId(time, tag)
    names = {b"last-modified": b"if-modified-since", b"etag": b"if-none-match"}
    sent = {names[name]: value for name, value in build_message_id(last_seen)}
    assert parse_message_id(sent) == last_seen


def test_client_without_an_id_gets_no_id() -> None:
    """A client that sent no id gets none."""
    assert build_message_id(START) == []


@pytest.mark.parametrize("zone", [b"-0001", b"-2359"])
def test_dates_after_9999_are_clamped(zone: bytes) -> None:
    """A date that its zone moves beyond the year 9999 is the last second of 9999."""
    date = b"Fri, 31 Dec 9999 23:59:59 " + zone
    last_seen = parse_message_id({b"if-modified-since": date})
    assert last_seen == MessageId(LAST_SECOND, -1)
    assert build_message_id(last_seen)


@given(
    st.integers(0, LAST_SECOND),
    st.integers(0, 10**18 - 1),
    st.none() | st.binary(min_size=1),
    st.none() | st.binary(min_size=1),
    st.integers(0, 10**9),
)
def test_message_headers_round_trip(
    time: int,
    tag: int,
    content_type: bytes | None,
    encoding: bytes | None,
    length: int,
) -> None:
    """The headers of a message have its id, type, encoding and length."""
    message_id = MessageId(time, tag)
    headers = build_message_headers(message_id, content_type, encoding, length)
    values = dict(headers)
    assert len(values) == len(headers)
    assert parse_date(values[b"last-modified"]) == time
    assert parse_tag(values[b"etag"]) == tag
    assert values.get(b"content-type") == content_type
    assert values.get(b"content-encoding") == encoding
    assert values[b"content-length"] == b"%d" % length
    assert values[b"cache-control"] == b"no-cache, no-transform, etag=%d" % tag


def test_retry_after_has_jitter() -> None:
    """Clients get different values of Retry-After."""
    told = {build_retry_after() for _ in range(200)}
    assert {name for name, _ in told} == {b"retry-after"}
    assert {int(value) for _, value in told} == {1, 2, 3, 4, 5}


INFO = ChannelInfo(
    messages=2,
    requested=3,
    last_message_id=MessageId(1_795_350_764, 1),
    subscribers=1,
)
PLAIN = (
    b"queued messages: 2\r\n"
    b"last requested: 3 sec. ago\r\n"
    b"active subscribers: 1\r\n"
    b"last message id: 1795350764:1"
)
JSON = (
    b'{"messages": 2, "requested": 3, "subscribers": 1,'
    b' "last_message_id": "1795350764:1" }'
)
XML = (
    b'<?xml version="1.0" encoding="UTF-8" ?>\r\n'
    b"<channel>\r\n"
    b"  <messages>2</messages>\r\n"
    b"  <requested>3</requested>\r\n"
    b"  <subscribers>1</subscribers>\r\n"
    b"  <last_message_id>1795350764:1</last_message_id>\r\n"
    b"</channel>"
)
YAML = (
    b"---\r\n"
    b"messages: 2\r\n"
    b"requested: 3\r\n"
    b"subscribers: 1\r\n"
    b'last_message_id: "1795350764:1"\r\n'
    b"\r\n"
)


@pytest.mark.parametrize(
    ("media_type", "document"),
    [
        (b"text/plain", PLAIN),
        (b"application/json", JSON),
        (b"text/json", JSON),
        (b"text/xml", XML),
        (b"application/xml", XML),
        (b"text/yaml", YAML),
        (b"application/yaml", YAML),
    ],
)
def test_channel_info(media_type: bytes, document: bytes) -> None:
    """Channel info is byte for byte the document that Nchan's clients parse."""
    assert build_channel_info(INFO, media_type) == document


def test_channel_info_of_an_empty_channel() -> None:
    """An unused channel has the values -1 and 0:0."""
    info = ChannelInfo(messages=0, requested=-1, last_message_id=MessageId(0, 0))
    assert build_channel_info(info, b"application/json") == (
        b'{"messages": 0, "requested": -1, "subscribers": 0, "last_message_id": "0:0" }'
    )


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (b"", b"text/plain"),
        (b"*/*", b"text/plain"),
        (b"text/*", b"text/plain"),
        (b"text/html", b"text/plain"),
        (b"text/plain", b"text/plain"),
        (b"text/json", b"text/json"),
        (b"application/json", b"application/json"),
        (b"text/xml", b"text/xml"),
        (b"application/xml", b"application/xml"),
        (b"text/yaml", b"text/yaml"),
        (b"application/yaml", b"application/yaml"),
        (b"text/x-yaml", b"text/x-yaml"),
        (b"application/x-yaml", b"application/x-yaml"),
        (b"text/x-json", b"text/x-json"),
        (b"application/x-json", b"application/x-json"),
        (b"APPLICATION/Json", b"application/json"),
        (b"application/json;q=0.5, text/xml", b"application/json"),
        (
            b"text/html, application/xhtml+xml, application/xml;q=0.9",
            b"application/xml",
        ),
        (b"text/html,text/yaml ; charset=utf-8,text/xml", b"text/yaml"),
        (b"*/*, application/json", b"application/json"),
        (b"application/jsonp", b"text/plain"),
        (b",,;,", b"text/plain"),
        (b"\xff\x00,text/xml", b"text/xml"),
    ],
)
def test_accept(accept: bytes, media_type: bytes) -> None:
    """The first known media type of the list is chosen, or else plain text."""
    assert choose_info_type(accept) == media_type


@pytest.mark.parametrize("space", [b" ", b"\t", b"\xa0"])
def test_long_headers_are_not_cached(space: bytes) -> None:
    """Results for long headers are not cached, so they cannot fill the memory."""
    padding = space * 1_000_000
    tracemalloc.start()
    try:
        for i in range(3):
            headers = {
                b"if-modified-since": padding + build_date(NOVEMBER + i),
                b"if-none-match": padding + b"%d" % i,
            }
            with suppress(InvalidMessageId):
                parse_message_id(headers)
            choose_info_type(headers.pop(b"if-none-match"))
        del headers
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < len(padding)


@given(st.binary(max_size=80))
def test_any_accept_gives_a_known_type(accept: bytes) -> None:
    """Any value of Accept results in a document."""
    assert build_channel_info(INFO, choose_info_type(accept))


@pytest.mark.parametrize(
    "name",
    [b"if-modified-since", b"if-none-match", b"content-type", b"content-length"],
)
@pytest.mark.parametrize("values", [(b"1", b"2"), (b"1", b"1"), (b"", b"")])
def test_repeated_headers_are_refused(name: bytes, values: tuple[bytes, bytes]) -> None:
    """A header that affects the request is refused if it is given twice."""
    raw = [(b"host", b"a"), *((name, value) for value in values)]
    with pytest.raises(BadRequest, match="is given twice"):
        fold_headers(raw)


def test_other_repeated_headers_are_joined() -> None:
    """Several lines of any other header are read as one list."""
    raw = [(b"accept", b"a"), (b"host", b"h"), (b"accept", b"b, c"), (b"accept", b"d")]
    assert fold_headers(raw) == {b"host": b"h", b"accept": b"a, b, c, d"}


def test_single_headers_are_unchanged() -> None:
    """Headers that are given once are unchanged."""
    raw = [(b"if-none-match", b"1"), (b"content-type", b""), (b"x", b" a ,b")]
    assert fold_headers(raw) == dict(raw)


@pytest.mark.parametrize("parse", [parse_date, parse_tag])
def test_errors_quote_the_invalid_value(parse: Callable[[bytes], int]) -> None:
    """An error quotes the value, with control characters escaped."""
    with pytest.raises(InvalidMessageId) as refusal:
        parse(b"a\r\nb\x00\xff")
    assert "'a\\r\\nb\\x00ÿ'" in str(refusal.value)
