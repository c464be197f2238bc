"""The members in the events that processes send to each other.

An event may have only plain types, and no more than a layer takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .view import Entry

#: The most members in an event, and about the most bytes that they take.
MAX_MEMBERS = 1000
MAX_SIZE = 65_536


class Told(NamedTuple):
    """What a process tells about a member.

    Attributes:
        channel_id: The channel.
        limit: The most members that are named there.
        member: The member.
        entry: What the process has of it, None if it is not there any more.
    """

    channel_id: str
    limit: int
    member: str
    entry: Entry | None


def pack(told: Iterable[Told]) -> Iterator[list[list[Any]]]:
    """Return members as the content of events, as few as it has to be.

    No more members are taken than are in the events that were taken.
    """
    rooms: list[list[Any]] = []
    count = size = 0
    for channel_id, limit, member, entry in told:
        if not rooms or rooms[-1][0] != channel_id:
            rooms.append([channel_id, limit])
            size += len(channel_id)
        rooms[-1] += (member, *(entry or (None, "", 0)))
        count += 1
        size += len(member) + (len(entry.info) if entry else 0)
        if count >= MAX_MEMBERS or size >= MAX_SIZE:
            yield rooms
            rooms, count, size = [], 0, 0
    if rooms:
        yield rooms


def unpack(rooms: Iterable[list[Any]]) -> Iterator[Told]:
    """Return the members in an event."""
    for channel_id, limit, *words in rooms:
        for index in range(0, len(words), 4):
            member, grace, info, revision = words[index : index + 4]
            entry = None if grace is None else Entry(grace, info, revision)
            yield Told(channel_id, limit, member, entry)
