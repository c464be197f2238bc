"""Parse and build the protocol's headers and channel info, in pure functions.

Source: Basic HTTP Push Relay Protocol, Rev. 2.23.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

from pushserver.events import find_event_fault
from pushserver.exclusion import CLIENT_ID, EXCLUDE_HEADER
from pushserver.publishers.headers import parse_ttl
from pushserver.publishers.idempotency import find_key_fault

from .exceptions import BadRequest, HeadersTooLarge, InvalidEvent, InvalidMessageId
from .memoize import MAX_ARGUMENT_LENGTH, memoize
from .messages import START, ChannelInfo, MessageId
from .sandbox import NOSNIFF, SANDBOX, is_active

Headers = list[tuple[bytes, bytes]]

#: The least and the most seconds in ``Retry-After``. A random value in this range keeps
#: the clients of a stopping server from all coming back at once.
RETRY_AFTER_RANGE = (1, 5)

#: The most header lines of a request, and the most bytes in all of them. Browsers allow
#: 4 KB a cookie and send some dozens of headers. h11 reads at most 64 KiB, Twisted 16
#: KiB; httptools has no limit.
MAX_HEADER_LINES = 200
MAX_HEADER_BYTES = 65_536

#: The most bytes of an ``Accept`` header that are read. A browser sends about 200.
MAX_ACCEPT = 4096

#: Unix time of 9999-12-31T23:59:59Z, the last second that an HTTP date can express.
LAST_SECOND = 253_402_300_799

VARY = b"If-None-Match, If-Modified-Since"

_SINGLE = frozenset(
    {b"content-length", b"content-type", b"if-modified-since", b"if-none-match"}
)

# The three date formats of RFC 9110, section 5.6.7. A numeric time zone and a day of
# one digit are accepted as well, because old browser clients send them. The standard
# library then reads the fields; by itself it accepts almost any text as a date.
_TIME = r"\d\d:\d\d:\d\d"
_ZONE = r"(?:GMT|UTC|[+-]\d{4})"
_DATE = re.compile(
    rf"""(?: [A-Z][a-z]{{2}},\ \d{{1,2}}\ [A-Z][a-z]{{2}}\ \d{{4}}\ {_TIME}\ {_ZONE}
           | [A-Z][a-z]{{5,8}},\ \d\d-[A-Z][a-z]{{2}}-\d\d\ {_TIME}\ {_ZONE}
           | [A-Z][a-z]{{2}}\ [A-Z][a-z]{{2}}\ [\d\ ]\d\ {_TIME}\ \d{{4}} )""",
    re.VERBOSE | re.ASCII,
)
# A leap second. Unix time counts it as the first second of the next minute.
_LEAP_SECOND = re.compile(r"(:\d\d):60\b", re.ASCII)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_TAG = re.compile(r'(?P<quote>(?:W/)?")?(?P<tag>\d{1,18})(?(quote)")', re.ASCII)


def check_headers(headers: Mapping[bytes, bytes], raw: Headers) -> None:
    """Raise :class:`HeadersTooLarge` if the headers exceed the limits.

    Args:
        headers: The headers by name, with the last line of each name.
        raw: The headers of the ASGI scope.
    """
    if len(headers) == len(raw):
        # Joining them is the fastest way to count the bytes.
        size = len(b"".join([*headers, *headers.values()]))
    elif len(raw) <= MAX_HEADER_LINES:
        size = sum(len(name) + len(value) for name, value in raw)
    else:
        size = MAX_HEADER_BYTES + 1
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLarge(MAX_HEADER_LINES, MAX_HEADER_BYTES)


def fold_headers(raw: Headers) -> dict[bytes, bytes]:
    """Return the headers of an ASGI scope by name, with repeated lines joined.

    Raises :class:`BadRequest` if a header that allows one value occurs twice, because
    different readers would take different values (RFC 9110, section 5.3).
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

    A date without a tag gives the id before the first message of that second.

    Raises :class:`InvalidMessageId`. Source: protocol, section 3.1.
    """
    date = headers.get(b"if-modified-since")
    tag = headers.get(b"if-none-match")
    if date is not None:
        return _parse_message_id(date, tag)
    if tag is not None:
        parse_tag(tag)  # Without a date it is ignored, but it must be valid.
    return START


# All subscribers of a channel send the same id, and parsing a date takes as long as the
# rest of their request. Errors are not cached.
@memoize(max_size=1024)
def _parse_message_id(date: bytes, tag: bytes | None) -> MessageId:
    number = -1 if tag is None else parse_tag(tag)
    return MessageId(max(parse_date(date), 0), number)


def parse_tag(value: bytes) -> int:
    """Return the tag in an ``If-None-Match``: ``3``, ``"3"`` or ``W/"3"``."""
    text = _read_value(value)
    match = _TAG.fullmatch(text)
    if match is None:
        raise InvalidMessageId("If-None-Match", text[:80], "a number as in an Etag")
    return int(match["tag"])


def parse_date(value: bytes) -> int:
    """Return the Unix time, in seconds, of an HTTP date (RFC 9110, section 5.6.7)."""
    text = _read_value(value)
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        # The standard library does not accept leap seconds.
        usual, leap_seconds = _LEAP_SECOND.subn(r"\1:59", text)
        date = parsedate_to_datetime(usual)
    except ValueError:
        raise InvalidMessageId(
            "If-Modified-Since", text[:80], "a date as in a Last-Modified"
        ) from None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    # A time zone may move it past the last second that an HTTP date can express.
    return min(int(date.timestamp()) + leap_seconds, LAST_SECOND)


def _read_value(value: bytes) -> str:
    """Return a header's value without surrounding whitespace, unless it is long."""
    is_long = len(value) > MAX_ARGUMENT_LENGTH
    return (value if is_long else value.strip()).decode("latin-1")


def check_header(name: str, value: bytes | None) -> None:
    """Raise :class:`BadRequest` if a value could end its header line."""
    if value is not None and _CONTROL.search(value):
        raise BadRequest(f"The header {name} holds a control character.")


def parse_event(value: bytes | None) -> str | None:
    """Return the name of an event in ``X-EventSource-Event``, None for none.

    Raises :class:`InvalidEvent`.
    """
    if not value:
        return None
    try:
        name = value.decode().strip(" \t")
    except UnicodeDecodeError:
        name = value.decode("latin-1").strip(" \t")
    if name:
        check_event(name)
    return name or None


def parse_lifetime(value: bytes | None) -> tuple[bool, int | None]:
    """Return whether a message is kept, and the seconds after which it expires.

    Args:
        value: The value of ``TTL``, None if there is none.

    Raises :class:`BadRequest`.
    """
    if value is None:
        return True, None
    try:
        return parse_ttl(value.decode("latin-1"))
    except ValueError as error:
        raise BadRequest(str(error)) from error


def parse_key(value: bytes | None) -> str | None:
    """Return the idempotency key of a POST, None if it has none.

    Raises :class:`BadRequest`.
    """
    if value is None:
        return None
    key = value.decode("latin-1").strip(" \t")
    fault = find_key_fault(key)
    if fault is not None:
        raise BadRequest(fault)
    return key


def parse_exclude(value: bytes | None) -> str | None:
    """Return the id of the page in ``Push-Exclude``, None if there is none.

    Raises :class:`BadRequest`.
    """
    client_id = (value or b"").decode("latin-1").strip(" \t")
    if not client_id:
        return None
    if not CLIENT_ID.fullmatch(client_id):
        raise BadRequest(
            f"The header {EXCLUDE_HEADER} is no id of a page: up to 64 letters, digits,"
            " hyphens and underscores."
        )
    return client_id


def check_event(name: str) -> None:
    """Raise :class:`InvalidEvent` unless an event can have a name."""
    fault = find_event_fault(name)
    if fault is not None:
        raise InvalidEvent(fault)


@lru_cache(maxsize=1024)
def build_date(time: int) -> bytes:
    """Return Unix time, in seconds, as an HTTP date (IMF-fixdate)."""
    return formatdate(time, usegmt=True).encode()


def build_message_id(last_seen: MessageId) -> Headers:
    """Return the headers that repeat the id a client sent."""
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
    exclude: str | None = None,
) -> Headers:
    """Return the headers of an answer with a message.

    The list is shared by all subscribers and must not be changed.

    Args:
        message_id: The id of the message.
        content_type: The publisher's Content-Type, None if it sent none.
        content_encoding: The publisher's Content-Encoding, None if it sent none.
        length: The length of the body in bytes.
        inline: Whether a browser may run the message as a page of the site.
        exclude: The id of the page that is not to hear of it, None for none.
    """
    headers = [NOSNIFF]
    if exclude is not None:
        headers.append((b"push-exclude", exclude.encode()))
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
        # no-transform, because a proxy that compresses weakens or drops the Etag.
        # Clients that do not receive the Etag read etag= here. Not no-store, because a
        # client may let its HTTP cache keep the ids.
        (b"cache-control", b"no-cache, no-transform, etag=%d" % message_id.tag),
    ]


def build_retry_after() -> tuple[bytes, bytes]:
    """Return a ``Retry-After`` header with a random number of seconds."""
    return (b"retry-after", b"%d" % random.randint(*RETRY_AFTER_RANGE))


# Channel info, byte for byte as Nchan's clients parse it: the number of messages, the
# seconds since the last request, the number of subscribers, the last message id.

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
    """Return the first supported media type in an ``Accept``, or ``text/plain``."""
    for part in accept[:MAX_ACCEPT].split(b","):
        media_type = part.partition(b";")[0].strip().lower()
        if media_type in _INFO_TYPES:
            return media_type
    return TEXT_PLAIN


def build_channel_info(info: ChannelInfo, media_type: bytes) -> bytes:
    """Return channel info as a document of a supported media type."""
    messages, requested, (time, tag), subscribers = info
    return _INFO_TYPES[media_type] % (messages, requested, subscribers, time, tag)
