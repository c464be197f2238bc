"""The board: its posts, in memory, because there is no database."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from datetime import datetime, timezone
from itertools import cycle
from typing import Any

from django.http import HttpRequest

from pushserver.updates import asend_update

CHANNEL = "board"

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


class Board:
    """The latest posts, and the id of the last message that they include."""

    def __init__(self) -> None:
        self._posts: deque[dict[str, str]] = deque(maxlen=50)
        self._after: str | None = None
        self._in_order = asyncio.Lock()

    def state(self) -> dict[str, Any]:
        """Return the contents of a page, and the id after which it subscribes."""
        return {
            "posts": list(self._posts),
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

    async def _publish(self, data: dict[str, Any]) -> None:
        """Publish data, and remember the id of its message."""
        receipt = await asend_update(CHANNEL, data)
        if receipt is not None and receipt.info is not None:
            self._after = receipt.info["last_message_id"]


board = Board()
