"""The board: what was posted, and who is here. In memory, as there is no database."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import cycle
from typing import Any

from django.dispatch import receiver
from django.http import HttpRequest

from pushserver.signals import channel_subscribe, channel_unsubscribe
from pushserver.updates import asend_update

CHANNEL = "board"

#: Seconds in which a page that stopped waiting may come back, as it does after each
#: message, before it counts as gone.
LEAVE_AFTER = 1.0

#: Seconds in which pages that come or go are told of in one message.
BUNCH = 0.05

#: The style sheet knows these colors.
COLORS = ("Amber", "Azure", "Coral", "Jade", "Lilac", "Olive", "Plum", "Teal")
ANIMALS = ("Badger", "Crane", "Finch", "Fox", "Heron", "Lynx", "Otter", "Wren")

_names = [f"{color} {animal}" for color in COLORS for animal in ANIMALS]
random.shuffle(_names)
_next_name = cycle(_names)


def visitor_name(request: HttpRequest) -> str:
    """Return the visitor's name, from the session's cookie; they all get one."""
    if "name" not in request.session:
        request.session["name"] = next(_next_name)
    return str(request.session["name"])


class Presence:
    """Counts the pages that are here, by the names of their visitors.

    Args:
        tell: Called when somebody came or went.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._pages: Counter[str] = Counter()
        self._leaving: defaultdict[str, deque[asyncio.TimerHandle]] = defaultdict(deque)

    def count(self) -> dict[str, int]:
        """Return how many pages each visitor has open."""
        return dict(self._pages)

    def come(self, name: str) -> None:
        """Hear that a page waits for messages."""
        if self._leaving[name]:
            # The newest, because one that stopped waiting long ago is really gone.
            self._leaving[name].pop().cancel()
        else:
            self._pages[name] += 1
            self._tell()

    def leave(self, name: str) -> None:
        """Hear that a page waits no more; it may just ask again."""
        loop = asyncio.get_running_loop()
        self._leaving[name].append(loop.call_later(LEAVE_AFTER, self._gone, name))

    def _gone(self, name: str) -> None:
        self._leaving[name].popleft()
        self._pages -= Counter([name])
        self._tell()


class Board:
    """The latest posts, and the id of the last message that is in them."""

    def __init__(self) -> None:
        self.presence = Presence(self._tell_soon)
        self._posts: deque[dict[str, str]] = deque(maxlen=50)
        self._after: str | None = None
        self._in_order = asyncio.Lock()
        self._telling: asyncio.Task[None] | None = None

    def state(self) -> dict[str, Any]:
        """Return what a page shows, and the message after which it listens."""
        return {
            "posts": list(self._posts),
            "here": self.presence.count(),
            "after": self._after,
        }

    async def post(self, name: str, text: str) -> None:
        """Add a post, and publish it."""
        post = {
            "id": uuid.uuid4().hex,
            "name": name,
            "text": text,
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        async with self._in_order:
            await self._publish({"type": "post", **post})
            self._posts.append(post)

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """Publish who is here, until it stays so."""
        told = None
        try:
            while told != self.presence.count():
                await asyncio.sleep(BUNCH)
                told = self.presence.count()
                async with self._in_order:
                    await self._publish({"type": "presence", "here": told})
        finally:
            self._telling = None

    async def _publish(self, data: dict[str, Any]) -> None:
        receipt = await asend_update(CHANNEL, data)
        if receipt is not None and receipt.info is not None:
            self._after = receipt.info["last_message_id"]


board = Board()


@receiver(channel_subscribe)
async def come(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    if channel_id == CHANNEL:
        board.presence.come(request.session.get("name", "Somebody"))


@receiver(channel_unsubscribe)
async def leave(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    if channel_id == CHANNEL:
        board.presence.leave(request.session.get("name", "Somebody"))
