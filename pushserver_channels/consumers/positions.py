"""Find the positions from which the client of a request reads its channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pushserver.conf import SubscriberLocation
from pushserver_channels.messages import START, MessageId
from pushserver_channels.positions import (
    BEGINNING,
    StartPosition,
    find_last_event_id,
    parse_keyword,
    parse_position,
    parse_positions,
    read_first_message,
)
from pushserver_channels.presence.state import PresenceReads
from pushserver_channels.protocol import parse_message_id
from pushserver_channels.stores import Store


def find_start_position(
    headers: Mapping[bytes, bytes], query: bytes, location: SubscriberLocation
) -> StartPosition:
    """Return the start position on one channel. Source: streams, section 2.

    Raises :class:`~pushserver_channels.exceptions.BadRequest`.
    """
    message_id = parse_message_id(headers)
    if message_id is not START:
        return message_id
    named = find_last_event_id(headers, query)
    if named is not None:
        return parse_position(*named)
    return read_first_message(location.first_message)


def find_start_positions(
    headers: Mapping[bytes, bytes],
    query: bytes,
    location: SubscriberLocation,
    channel_ids: Sequence[str],
) -> list[StartPosition]:
    """Return the start position on each channel.

    Raises :class:`~pushserver_channels.exceptions.BadRequest`.
    """
    count = len(channel_ids)
    if count == 1:
        return [find_start_position(headers, query, location)]
    tag = headers.get(b"if-none-match")
    if tag is not None:
        named: tuple[str, str] | None
        named = "header If-None-Match", _unquote(tag.decode("latin-1").strip(" \t"))
    else:
        named = find_last_event_id(headers, query)
    first = read_first_message(location.first_message)
    if named is None:
        # A date without a tag counts for all channels.
        date = parse_message_id(headers)
        return [first if date is START else date] * count
    if tag is not None and named[1].isascii() and named[1].isdigit():
        # The position before all messages, with which browser clients start.
        return [parse_message_id(headers)] * count
    positions = parse_positions(*named, count)
    return [first if each is None else each for each in positions]


def has_id(headers: Mapping[bytes, bytes], query: bytes, count: int) -> bool:
    """Return whether a request has the id of the client's last message.

    ``oldest`` and ``newest`` are no id.

    Args:
        headers: The headers, whose position is valid.
        query: The query.
        count: How many channels there are.
    """
    if count > 1 and b"if-none-match" in headers:
        return True
    if parse_message_id(headers) is not START:
        return True
    named = find_last_event_id(headers, query)
    return named is not None and parse_keyword(named[1]) is None


def _unquote(tag: str) -> str:
    """Return an entity tag without quotes, and without the ``W/`` of proxies."""
    tag = tag.removeprefix("W/")
    return tag[1:-1] if tag[:1] == tag[-1:] == '"' and len(tag) > 1 else tag


async def find_last_seen(
    store: Store | PresenceReads, channel_id: str, start: StartPosition, *, create: bool
) -> tuple[MessageId, MessageId | None]:
    """Return the id after which a client begins, and that of a message it missed.

    The second is the id of the newest missed message, None if it is not known yet.

    Args:
        store: The store of the channel.
        channel_id: The channel.
        start: Where the client begins.
        create: Whether to create the channel if there is none; if not,
            :class:`~pushserver_channels.exceptions.ChannelNotFound` is raised.
    """
    seen = (
        await store.position(channel_id, start, create=create)
        if isinstance(start, int)
        else start
    )
    message = await store.next(channel_id, seen, create=create)
    if seen.tag >= 0:
        return seen, None
    # A date is not an id; take the id of the message before the next one.
    if message is None:
        return (await store.info(channel_id)).last_message_id, None
    return message.previous or BEGINNING, message.gap_after(seen)
