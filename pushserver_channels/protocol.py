"""The protocol in text: headers to message ids and back, and channel info.

Pure functions; source of all of it is the Basic HTTP Push Relay Protocol, Rev. 2.23.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

from .exceptions import BadRequest, HeadersTooLarge, InvalidMessageId
from .memoize import MAX_ARGUMENT_LENGTH, memoize
from .messages import START, ChannelInfo, MessageId
from .sandbox import NOSNIFF, SANDBOX, is_active

Headers = list[tuple[bytes, bytes]]

#: Seconds over which clients are spread that a stopping server sends away.
RETRY_AFTER_RANGE = (1, 5)

#: Lines and bytes that the headers of a request may have. Browsers keep 4 KB a cookie
#: and send some dozens of headers; h11 reads 64 KiB, Twisted 16, httptools any number.
MAX_HEADER_LINES = 200
MAX_HEADER_BYTES = 65_536

#: Bytes of an ``Accept`` that are read. A browser sends 200.
MAX_ACCEPT = 4096

#: 9999-12-31T23:59:59Z.
LAST_SECOND = 253_402_300_799

VARY = b"If-None-Match, If-Modified-Since"

_SINGLE = frozenset(
    {b"content-length", b"content-type", b"if-modified-since", b"if-none-match"}
)

# The three forms of a date (RFC 9110, section 5.6.7), the first two also with a numeric
# zone and a day of one digit, which old browser clients send. Their fields are then
# read by the standard library, which alone would take almost anything for a date.
_TIME = r"\d\d:\d\d:\d\d"
_ZONE = r"(?:GMT|UTC|[+-]\d{4})"
_DATE = re.compile(
    rf"""(?: [A-Z][a-z]{{2}},\ \d{{1,2}}\ [A-Z][a-z]{{2}}\ \d{{4}}\ {_TIME}\ {_ZONE}
           | [A-Z][a-z]{{5,8}},\ \d\d-[A-Z][a-z]{{2}}-\d\d\ {_TIME}\ {_ZONE}
           | [A-Z][a-z]{{2}}\ [A-Z][a-z]{{2}}\ [\d\ ]\d\ {_TIME}\ \d{{4}} )""",
    re.VERBOSE | re.ASCII,
)
# A leap second, which Unix time counts as the first of the next minute.
_LEAP_SECOND = re.compile(r"(:\d\d):60\b", re.ASCII)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_TAG = re.compile(r'(?P<quote>(?:W/)?")?(?P<tag>\d{1,18})(?(quote)")', re.ASCII)


def check_headers(headers: Mapping[bytes, bytes], raw: Headers) -> None:
    """Raise :class:`HeadersTooLarge` unless the headers are of a bearable size.

    Args:
        headers: The headers by name, the last line of each name.
        raw: Those of the scope.
    """
    if len(headers) == len(raw):
        # (Joining is the fastest way of counting.)
        size = len(b"".join([*headers, *headers.values()]))
    elif len(raw) <= MAX_HEADER_LINES:
        size = sum(len(name) + len(value) for name, value in raw)
    else:
        size = MAX_HEADER_BYTES + 1
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLarge(MAX_HEADER_LINES, MAX_HEADER_BYTES)


def fold_headers(raw: Headers) -> dict[bytes, bytes]:
    """Return the headers of a scope by name, several lines of one name as one.

    Raises :class:`BadRequest` if a header that has one value only is given twice, since
    what it decides would depend on who reads it (RFC 9110, section 5.3).
    """
    lines: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        lines.setdefault(name, []).append(value)
    for name in _SINGLE & lines.keys():
        if len(lines[name]) > 1:
            raise BadRequest(f"The header {name.decode().title()} is given twice.")
    return {name: b", ".join(values) for name, values in lines.items()}


def parse_message_id(headers: Mapping[bytes, bytes]) -> MessageId:
    """Return the id of the last message that a client has, :data:`START` for none.

    A date without a tag is before the first message of its second. Raises
    :class:`InvalidMessageId`. Source: protocol, section 3.1.
    """
    date = headers.get(b"if-modified-since")
    tag = headers.get(b"if-none-match")
    if date is not None:
        return _parse_message_id(date, tag)
    if tag is not None:
        parse_tag(tag)  # It says nothing without a date, but has to be one.
    return START


# All who wait on a channel name the same message, and to read a date takes as long as
# all else that their requests need. (What cannot be read is not remembered: a client
# could fill the memory with the space around it.)
@memoize(max_size=1024)
def _parse_message_id(date: bytes, tag: bytes | None) -> MessageId:
    number = -1 if tag is None else parse_tag(tag)
    return MessageId(max(parse_date(date), 0), number)


def parse_tag(value: bytes) -> int:
    """Return the number of an ``If-None-Match``: ``3``, ``"3"`` or ``W/"3"``."""
    text = _read_value(value)
    match = _TAG.fullmatch(text)
    if match is None:
        raise InvalidMessageId("If-None-Match", text[:80], "a number as in an Etag")
    return int(match["tag"])


def parse_date(value: bytes) -> int:
    """Return the seconds of Unix time of an HTTP date (RFC 9110, section 5.6.7)."""
    text = _read_value(value)
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        # (The standard library knows no leap seconds.)
        usual, leap_seconds = _LEAP_SECOND.subn(r"\1:59", text)
        date = parsedate_to_datetime(usual)
    except ValueError:
        raise InvalidMessageId(
            "If-Modified-Since", text[:80], "a date as in a Last-Modified"
        ) from None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    # A zone may lead beyond the last second that can be written as a date.
    return min(int(date.timestamp()) + leap_seconds, LAST_SECOND)


def _read_value(value: bytes) -> str:
    """Return a header's value without the space around it, which is no part of it."""
    is_long = len(value) > MAX_ARGUMENT_LENGTH
    return (value if is_long else value.strip()).decode("latin-1")


def check_header(name: str, value: bytes | None) -> None:
    """Raise :class:`BadRequest` if a value could break out of its header."""
    if value is not None and _CONTROL.search(value):
        raise BadRequest(f"The header {name} holds a control character.")


@lru_cache(maxsize=1024)
def build_date(time: int) -> bytes:
    """Return seconds of Unix time as an IMF-fixdate."""
    return formatdate(time, usegmt=True).encode()


def build_message_id(last_seen: MessageId) -> Headers:
    """Return the id of the last message that a client has, as it named it."""
    if last_seen.time < 0:
        return []
    headers = [(b"last-modified", build_date(last_seen.time))]
    if last_seen.tag >= 0:
        headers.append((b"etag", b"%d" % last_seen.tag))
    return headers


@lru_cache(maxsize=128)
def build_message_headers(
    message_id: MessageId,
    content_type: bytes | None,
    content_encoding: bytes | None,
    length: int,
    inline: bool = False,
) -> Headers:
    """Return the headers of an answer that holds a message.

    The same list for each subscriber: do not change it.

    Args:
        message_id: The message's.
        content_type: The publisher's, None if it sent none.
        content_encoding: The publisher's, None if it sent none.
        length: Bytes of the body.
        inline: Whether a browser may run the message as a page of the site.
    """
    headers = [NOSNIFF]
    if content_type is not None:
        headers.append((b"content-type", content_type))
    if content_encoding is not None:
        headers.append((b"content-encoding", content_encoding))
    if not inline and is_active(content_type):
        headers.append(SANDBOX)
    return [
        *headers,
        (b"content-length", b"%d" % length),
        (b"last-modified", build_date(message_id.time)),
        (b"etag", b"%d" % message_id.tag),
        # no-transform: a proxy that compresses weakens or drops the Etag; clients that
        # do not see it read etag= here. Not no-store: a client may leave the ids to its
        # HTTP cache.
        (b"cache-control", b"no-cache, no-transform, etag=%d" % message_id.tag),
    ]


def build_retry_after() -> tuple[bytes, bytes]:
    """Return a ``Retry-After`` that spreads the clients that are sent away."""
    return (b"retry-after", b"%d" % random.randint(*RETRY_AFTER_RANGE))


# Channel info: byte for byte the documents that the clients of Nchan parse. Each tells
# the messages, the seconds, the subscribers, and the last id's two numbers.

_PLAIN = (
    b"queued messages: %d\r\n"
    b"last requested: %d sec. ago\r\n"
    b"active subscribers: %d\r\n"
    b"last message id: %d:%d"
)
_JSON = (
    b'{"messages": %d, "requested": %d, "subscribers": %d, "last_message_id": "%d:%d" }'
)
_XML = (
    b'<?xml version="1.0" encoding="UTF-8" ?>\r\n'
    b"<channel>\r\n"
    b"  <messages>%d</messages>\r\n"
    b"  <requested>%d</requested>\r\n"
    b"  <subscribers>%d</subscribers>\r\n"
    b"  <last_message_id>%d:%d</last_message_id>\r\n"
    b"</channel>"
)
_YAML = (
    b"---\r\n"
    b"messages: %d\r\n"
    b"requested: %d\r\n"
    b"subscribers: %d\r\n"
    b'last_message_id: "%d:%d"\r\n'
    b"\r\n"
)
TEXT_PLAIN = b"text/plain"

_INFO_TYPES = {
    TEXT_PLAIN: _PLAIN,
    b"text/json": _JSON,
    b"text/x-json": _JSON,
    b"application/json": _JSON,
    b"application/x-json": _JSON,
    b"text/xml": _XML,
    b"application/xml": _XML,
    b"text/yaml": _YAML,
    b"text/x-yaml": _YAML,
    b"application/yaml": _YAML,
    b"application/x-yaml": _YAML,
}


@memoize(max_size=256)
def choose_info_type(accept: bytes) -> bytes:
    """Return the first known media type of an ``Accept``, else ``text/plain``."""
    for part in accept[:MAX_ACCEPT].split(b","):
        media_type = part.partition(b";")[0].strip().lower()
        if media_type in _INFO_TYPES:
            return media_type
    return TEXT_PLAIN


def build_channel_info(info: ChannelInfo, media_type: bytes) -> bytes:
    """Return channel info as a document of a known media type."""
    messages, requested, (time, tag), subscribers = info
    return _INFO_TYPES[media_type] % (messages, requested, subscribers, time, tag)
