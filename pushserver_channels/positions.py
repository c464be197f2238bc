"""Where a client begins: the ids of the last messages that it has, of each channel.

A place on one channel is the id of a message; or a number, which stands for so many of
the newest messages, 0 for those that are published from now on. Source: streams, 2 and
5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from .exceptions import InvalidPosition
from .messages import MessageId

#: Before all messages, as a client is told it.
BEGINNING = MessageId(0, 0)

#: Only what is published from now on.
NEWEST = 0

#: A message id, or how many of the newest messages follow.
Place = MessageId | int

#: Characters of a position that an error repeats.
_SHOWN = 80

#: Parameters of a query that are read. More are nobody's who means it.
_MAX_PARAMETERS = 1000

_ID = re.compile(r"(\d{1,12}):(\d{1,18})", re.ASCII)
# Of a channel that is not the first one in Nchan's form.
_TAG = re.compile(r"\d{1,18}|\[\d{1,18}\]", re.ASCII)

#: The parameters of a query, by what they are named in it.
_PARAMETERS = ("last_event_id", "lastEventId")


def read_first_message(setting: str | int) -> Place:
    """Return the place that a location's ``first_message`` stands for."""
    if isinstance(setting, int):
        return -setting
    return BEGINNING if setting == "oldest" else NEWEST


def find_last_event_id(
    headers: Mapping[bytes, bytes], query: bytes
) -> tuple[str, str] | None:
    """Return what tells where a client begins, by what name; None if nothing does.

    Args:
        headers: The request's, by name.
        query: The query of its URL.

    Raises :class:`InvalidPosition` if the query has too many parameters.
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


def parse_place(source: str, value: str) -> Place:
    """Return the place on one channel that a client names.

    Args:
        source: Where it stands, for the error.
        value: ``time:tag``, ``oldest`` or ``newest``.

    Raises :class:`InvalidPosition`.
    """
    keyword = _parse_keyword(value)
    if keyword is not None:
        return keyword
    found = _parse_id(value)
    if found is None:
        raise InvalidPosition(source, value[:_SHOWN], "an id, 'oldest' or 'newest'")
    return found


def parse_places(source: str, value: str, count: int) -> list[Place | None]:
    """Return the places on several channels that a client names.

    Args:
        source: Where they stand, for the error.
        value: ``[time:tag],time:tag,-``; or Nchan's form, ``time:[tag],tag,-``; or
            ``oldest`` or ``newest``, for all.
        count: How many channels there are.

    Returns None for a channel of which nothing was seen. Raises
    :class:`InvalidPosition`.
    """
    keyword = _parse_keyword(value)
    if keyword is not None:
        return [keyword] * count
    places = _parse_parts(value)
    if places is None:
        raise InvalidPosition(
            source, value[:_SHOWN], "ids joined by commas, 'oldest' or 'newest'"
        )
    if len(places) != count:
        raise InvalidPosition(
            source, value[:_SHOWN], f"one of {count} channels, but of {len(places)}"
        )
    return places


def _parse_keyword(value: str) -> Place | None:
    if value == "oldest":
        return BEGINNING
    return NEWEST if value == "newest" else None


def _parse_parts(value: str) -> list[Place | None] | None:
    """Return the places in a position, None if it cannot be read."""
    parts = value.split(",")
    time = None
    if ":[" in parts[0] or ":-" in parts[0] or any(map(_is_tag, parts[1:])):
        # In Nchan's form one time is for all channels.
        time, _, parts[0] = parts[0].partition(":")
    places: list[Place | None] = []
    speakers = 0
    for part in parts:
        if part == "-":
            places.append(None)
            continue
        if part[:1] == "[" and part[-1:] == "]":
            speakers += 1
            part = part[1:-1]
        found = _parse_id(part if time is None else f"{time}:{part}")
        if found is None:
            return None
        places.append(found)
    return places if speakers <= 1 else None


def _is_tag(part: str) -> bool:
    return _TAG.fullmatch(part) is not None


def _parse_id(text: str) -> MessageId | None:
    match = _ID.fullmatch(text)
    return None if match is None else MessageId(int(match[1]), int(match[2]))


def build_position(ids: Sequence[str], speaker: int | None = None) -> str:
    """Return the position on several channels.

    Args:
        ids: The id of the last message of each, ``-`` where nothing was seen.
        speaker: The index of the one that spoke, None if none has.
    """
    if speaker is None:
        return ",".join(ids)
    parts = list(ids)
    parts[speaker] = f"[{parts[speaker]}]"
    return ",".join(parts)
