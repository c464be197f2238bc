"""Positions: the ids of the last messages that a client has, one for each channel.

A client may also start with a number of the newest messages instead of an id; 0 stands
for later messages only. Source: streams, sections 2 and 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from .exceptions import InvalidPosition
from .messages import MessageId

#: The position before all messages.
BEGINNING = MessageId(0, 0)

#: The start position of a client that gets later messages only.
NEWEST = 0

#: A message id, or a number of the newest messages.
StartPosition = MessageId | int

#: The most characters of a position in the text of an error.
_SHOWN = 80

#: The most parameters of a query. A valid request has far fewer.
_MAX_PARAMETERS = 1000

#: The last second that an HTTP date can name, at the end of the year 9999.
_MAX_TIME = 253_402_300_799

_ID = re.compile(r"(\d{1,12}):(\d{1,18})", re.ASCII)
# The tag of a channel in Nchan's form, except for the first channel.
_TAG = re.compile(r"\d{1,18}|\[\d{1,18}\]", re.ASCII)

#: The parameters of a query that hold a position; the first one counts.
_PARAMETERS = ("last_event_id", "lastEventId")


def read_first_message(setting: str | int) -> StartPosition:
    """Return the start position for the setting ``first_message``."""
    if isinstance(setting, int):
        return -setting
    return BEGINNING if setting == "oldest" else NEWEST


def find_last_event_id(
    headers: Mapping[bytes, bytes], query: bytes
) -> tuple[str, str] | None:
    """Return the name of the header or parameter with a position, and its value.

    Args:
        headers: The headers of the request, by name.
        query: The query of its URL.

    Returns None if there is no position. Raises :class:`InvalidPosition` if the query
    has too many parameters.
    """
    header = headers.get(b"last-event-id")
    if header is not None and (value := header.decode("latin-1").strip(" \t")):
        return "header Last-Event-ID", value
    for name in _PARAMETERS:
        value = read_parameter(query, name) or ""
        if value:
            return f"parameter {name}", value
    return None


def read_parameter(query: bytes, name: str) -> str | None:
    """Return the first value of a parameter in a query, None if it has none."""
    if name.encode() not in query:
        return None
    try:
        parameters = parse_qsl(
            query.decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise InvalidPosition("query", "…", "one of fewer parameters") from None
    return next((value for key, value in parameters if key == name), None)


def parse_position(source: str, value: str) -> StartPosition:
    """Return the start position on one channel that a client names.

    Args:
        source: The header or parameter, for the error.
        value: ``time:tag``, ``oldest`` or ``newest``.

    Raises :class:`InvalidPosition`.
    """
    keyword = parse_keyword(value)
    if keyword is not None:
        return keyword
    found = _parse_id(value)
    if found is None:
        raise InvalidPosition(source, value[:_SHOWN], "an id, 'oldest' or 'newest'")
    return found


def parse_positions(source: str, value: str, count: int) -> list[StartPosition | None]:
    """Return the start positions on several channels that a client names.

    Args:
        source: The header or parameter, for the error.
        value: ``[time:tag],time:tag,-``; or Nchan's form, ``time:[tag],tag,-``; or
            ``oldest`` or ``newest``, for all.
        count: How many channels there are.

    The position is None for a channel of which the client has no message. Raises
    :class:`InvalidPosition`.
    """
    keyword = parse_keyword(value)
    if keyword is not None:
        return [keyword] * count
    positions = _parse_parts(value)
    if positions is None:
        raise InvalidPosition(
            source, value[:_SHOWN], "ids joined by commas, 'oldest' or 'newest'"
        )
    if len(positions) != count:
        raise InvalidPosition(
            source, value[:_SHOWN], f"one of {count} channels, but of {len(positions)}"
        )
    return positions


def parse_keyword(value: str) -> StartPosition | None:
    """Return the start position for ``oldest`` or ``newest``, None for other values."""
    if value == "oldest":
        return BEGINNING
    return NEWEST if value == "newest" else None


def _parse_parts(value: str) -> list[StartPosition | None] | None:
    """Return the position on each channel, None if the value is malformed."""
    parts = value.split(",")
    time = None
    if ":[" in parts[0] or ":-" in parts[0] or any(map(_is_tag, parts[1:])):
        # In Nchan's form all channels share one time.
        time, _, parts[0] = parts[0].partition(":")
    positions: list[StartPosition | None] = []
    bracketed = 0
    for part in parts:
        if part == "-":
            positions.append(None)
            continue
        if part[:1] == "[" and part[-1:] == "]":
            bracketed += 1
            part = part[1:-1]
        found = _parse_id(part if time is None else f"{time}:{part}")
        if found is None:
            return None
        positions.append(found)
    return positions if bracketed <= 1 else None


def _is_tag(part: str) -> bool:
    return _TAG.fullmatch(part) is not None


def _parse_id(text: str) -> MessageId | None:
    match = _ID.fullmatch(text)
    if match is None or int(match[1]) > _MAX_TIME:
        return None
    return MessageId(int(match[1]), int(match[2]))


def build_position(ids: Sequence[str], latest: int | None = None) -> str:
    """Return a position on several channels.

    Args:
        ids: The id of the last message of each, ``-`` if there is none.
        latest: The index of the channel of the last message, None if there is none.
    """
    if latest is None:
        return ",".join(ids)
    parts = list(ids)
    parts[latest] = f"[{parts[latest]}]"
    return ",".join(parts)
