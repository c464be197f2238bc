"""Processes with presence over one channel layer, all on one event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from pushserver.conf import ChannelLayerStoreSettings
from pushserver.presence.names import PREFIX
from pushserver_channels.hub import Cursor, Heard, Hub
from pushserver_channels.messages import START, Message
from pushserver_channels.presence.bodies import build_state
from pushserver_channels.presence.layer import LayerPresence
from pushserver_channels.presence.members import Connection, PresenceLimits
from pushserver_channels.presence.presence import Presence
from pushserver_channels.presence.telling import Teller
from pushserver_channels.stores.layer import ChannelLayerStore
from tests.server.presence.visitors import Watcher
from tests.waiting import until

ROOM = "room"

MakeProcess = Callable[..., "Process"]


class Signals(Teller):
    """Keeps the signals in place of sending them.

    Attributes:
        sent: The signals: a user who has come, or one who has gone after a minus.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def tell(self, channel_id: str, user: str, info: str, has_joined: bool) -> None:
        self.sent.append(user if has_joined else f"-{user}")


class Page(Watcher, Cursor):
    """A page that watches the channel, without a server before it."""

    def __init__(self) -> None:
        super().__init__()
        self.channel_id = PREFIX + ROOM
        self.seen, self.scope, self.observers = START, {}, ()
        self.task = self.permission = None

    def hear(self, message: Message) -> Heard:
        self.take(message.body)
        return Heard.TAKEN

    def end(self, error: Exception | None) -> None:
        pass


class Process:
    """A process with presence.

    Args:
        group: The group of the processes.
        limits: The limits of the location.

    Attributes:
        signals: The signals that it has sent.
    """

    def __init__(self, group: str, limits: PresenceLimits) -> None:
        settings = ChannelLayerStoreSettings(type="channel_layer", group=group)
        self.store = ChannelLayerStore(settings)
        self.hub = Hub(self.store, asyncio.get_running_loop())
        self.kept = LayerPresence(self.hub)
        self.signals = Signals()
        self.presence = Presence(self.hub, self.kept, self.signals)
        self.limits = limits

    def come(
        self, user: str | None, info: Any = None, session: str | None = None
    ) -> Connection:
        """Let a visitor open a connection."""
        return self.presence.enter(
            ROOM, user, session, info, self.limits, is_hidden=False
        )

    def leave(self, *connections: Connection) -> None:
        for each in connections:
            self.presence.leave(each)

    async def watch(self) -> Page:
        """Return a page that has been given the state."""
        page = Page()
        self.hub.enter(page)
        page.take(build_state(await self.kept.read(ROOM, for_page=True)))
        return page

    async def members(self) -> dict[str, Any]:
        found = (await self.kept.read(ROOM, for_page=False)).members or {}
        return {key: json.loads(info) for key, info in found.items()}

    async def until_here(self, *users: str, others: int = 0) -> None:
        """Wait until the process knows exactly these members."""

        async def are_here() -> bool:
            snapshot = await self.kept.read(ROOM, for_page=False)
            return set(snapshot.members or ()) == {*users} and snapshot.others == others

        await until(are_here)

    def stop(self) -> None:
        """End as a server does that gets SIGTERM."""
        self.hub.stopping = True

    def kill(self) -> None:
        """End without a word."""
        self.store.close()


async def until_told(page: Page, *users: str, others: int = 0) -> None:
    """Wait until a page knows exactly these members."""
    await until(lambda: set(page.members) == {*users} and page.others == others)
