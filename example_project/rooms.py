"""The rooms: who is a member, what was said there, and who may listen."""

from __future__ import annotations

import asyncio
from collections import deque

from django.http import HttpRequest

from pushserver.access import Grant
from pushserver.updates import asend_update, user_channel

from .board import CHANNEL as BOARD

#: Who can log in, by one click: the example has no database and no passwords.
NAMES = ("Anna", "Ben")

#: The most messages of a room that a page shows when it is loaded.
MAX_MESSAGES = 20


class Room:
    """A channel that only its members may hear.

    Args:
        channel_id: The channel.
        title: What the page calls it.
        members: The names of those who may listen.

    Attributes:
        messages: What was said last, oldest first.
    """

    def __init__(self, channel_id: str, title: str, *members: str) -> None:
        self.channel_id = channel_id
        self.title = title
        self.members = members
        self.messages: deque[dict[str, str]] = deque(maxlen=MAX_MESSAGES)
        self._in_order = asyncio.Lock()

    async def say(self, name: str, text: str) -> None:
        """Publish a message, and keep it for pages that are loaded later."""
        message = {"type": "message", "name": name, "text": text}
        async with self._in_order:
            await asend_update(self.channel_id, message)
            self.messages.append(message)


ROOMS = {
    "kitchen": Room("room-kitchen", "The kitchen", *NAMES),
    "attic": Room("room-attic", "The attic", "Anna"),
}

#: The private channel of each name. Its id cannot be guessed, and is checked as well.
PRIVATE = {name: Room(user_channel(name), f"Only {name}", name) for name in NAMES}

_rooms = {each.channel_id: each for each in (*ROOMS.values(), *PRIVATE.values())}


def find_member(request: HttpRequest) -> str | None:
    """Return the name under which a visitor has logged in, None if not at all."""
    name: str | None = request.session.get("member")
    return name


def may_listen(request: HttpRequest, channel_id: str) -> bool | Grant:
    """Return whether a subscriber may hear a channel: ``PUSH_SERVER['authorize']``.

    Rooms and private channels are for their members, all other channels for everybody.
    On the board, the names in the sessions are those of the visitors who are there.
    """
    if channel_id == BOARD:
        return Grant(user=request.session.get("name"))
    room = _rooms.get(channel_id)
    if room is None:
        return True
    name = find_member(request)
    return name in room.members and Grant(user=name)
