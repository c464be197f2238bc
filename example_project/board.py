"""The board: its posts and its visitors, in memory, because there is no database."""

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

#: Seconds after which a page that stopped waiting counts as gone. After each message it
#: stops for a moment, and polls again.
LEAVE_AFTER = 1.0

#: Seconds to wait before visitors are published, so that one message has all changes.
COLLECT_FOR = 0.05

#: The style sheet knows these colors.
COLORS = ("Amber", "Azure", "Coral", "Jade", "Lilac", "Olive", "Plum", "Teal")
ANIMALS = ("Badger", "Crane", "Finch", "Fox", "Heron", "Lynx", "Otter", "Wren")

_names = [f"{color} {animal}" for color in COLORS for animal in ANIMALS]
random.shuffle(_names)
_next_name = cycle(_names)


def visitor_name(request: HttpRequest) -> str:
    """Return the visitor's name in the session; choose one if there is none."""
    if "name" not in request.session:
        request.session["name"] = next(_next_name)
    return str(request.session["name"])


class Presence:
    """Counts the open pages of each visitor.

    Args:
        on_change: Called when the counts have changed.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._pages: Counter[str] = Counter()
        self._leaving: defaultdict[str, deque[asyncio.TimerHandle]] = defaultdict(deque)

    def count(self) -> dict[str, int]:
        """Return the number of open pages of each visitor."""
        return dict(self._pages)

    def come(self, name: str) -> None:
        """Count a page that waits for messages."""
        if self._leaving[name]:
            # The newest timer, because a page that stopped long ago has probably gone.
            self._leaving[name].pop().cancel()
        else:
            self._pages[name] += 1
            self._on_change()

    def leave(self, name: str) -> None:
        """Count a page as gone unless it waits again within LEAVE_AFTER seconds."""
        loop = asyncio.get_running_loop()
        self._leaving[name].append(
            loop.call_later(LEAVE_AFTER, self._remove_page, name)
        )

    def _remove_page(self, name: str) -> None:
        """Subtract a page that has not waited again in time."""
        self._leaving[name].popleft()
        self._pages -= Counter([name])
        self._on_change()


class Board:
    """The latest posts, and the id of the last message that they include."""

    def __init__(self) -> None:
        self.presence = Presence(self._publish_visitors_soon)
        self._posts: deque[dict[str, str]] = deque(maxlen=50)
        self._after: str | None = None
        self._in_order = asyncio.Lock()
        self._publishing: asyncio.Task[None] | None = None

    def state(self) -> dict[str, Any]:
        """Return the contents of a page, and the id after which it subscribes."""
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

    def _publish_visitors_soon(self) -> None:
        """Start the task that publishes the visitors, unless it is running."""
        if self._publishing is None:
            loop = asyncio.get_running_loop()
            self._publishing = loop.create_task(self._publish_visitors())

    async def _publish_visitors(self) -> None:
        """Publish the visitors, and again if they have changed meanwhile."""
        published = None
        try:
            while published != self.presence.count():
                await asyncio.sleep(COLLECT_FOR)
                published = self.presence.count()
                async with self._in_order:
                    await self._publish({"type": "presence", "here": published})
        finally:
            self._publishing = None

    async def _publish(self, data: dict[str, Any]) -> None:
        """Publish data, and remember the id of its message."""
        receipt = await asend_update(CHANNEL, data)
        if receipt is not None and receipt.info is not None:
            self._after = receipt.info["last_message_id"]


board = Board()


@receiver(channel_subscribe)
async def come(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    """Count a visitor's page when it starts waiting."""
    if channel_id == CHANNEL:
        board.presence.come(request.session.get("name", "Somebody"))


@receiver(channel_unsubscribe)
async def leave(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    """Count a visitor's page as gone when it has stopped waiting."""
    if channel_id == CHANNEL:
        board.presence.leave(request.session.get("name", "Somebody"))
