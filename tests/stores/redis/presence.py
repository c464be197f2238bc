"""Processes that share a store with presence, as far as these tests need them."""

from __future__ import annotations

import asyncio
from typing import Any

from pushserver.conf import RedisStoreSettings
from pushserver_channels.hub import Hub
from pushserver_channels.messages import START
from pushserver_channels.presence.members import Connection, PresenceLimits
from pushserver_channels.presence.presence import Presence
from pushserver_channels.presence.redis import RedisPresence
from pushserver_channels.presence.telling import Teller
from pushserver_channels.stores.redis import RedisStore
from tests.server.presence.visitors import Watcher
from tests.stores.conftest import Clock
from tests.waiting import until

ROOM = "room"
LIMITS = PresenceLimits(15, 75, 1000)
#: The limits of members that leave at once.
BRIEF = PresenceLimits(0, 0, 1000)


class Signals(Teller):
    """Records the signals in place of sending them."""

    def __init__(self, told: list[tuple[str, str, str]]) -> None:
        super().__init__()
        self._told = told

    def tell(self, channel_id: str, user: str, info: str, has_joined: bool) -> None:
        self._told.append((channel_id, user, "joined" if has_joined else "left"))


class Process:
    """A push server, without connections.

    Attributes:
        presence: Who is on its channels.
        store: What keeps that in Redis.
        messages: The store of the messages.
    """

    def __init__(
        self,
        settings: RedisStoreSettings,
        clock: Clock,
        told: list[tuple[str, str, str]],
    ) -> None:
        self.messages = RedisStore(settings, clock)
        self._hub = Hub(self.messages, asyncio.get_running_loop())
        self.store = RedisPresence(self._hub)
        self.presence = Presence(self._hub, self.store, Signals(told))
        self.is_running = True

    def enter(
        self,
        user: str | None,
        info: Any = None,
        room: str = ROOM,
        limits: PresenceLimits = LIMITS,
        *,
        is_hidden: bool = False,
    ) -> Connection:
        return self.presence.enter(room, user, None, info, limits, is_hidden=is_hidden)

    async def leave(self, connection: Connection) -> None:
        """End a connection of a member that leaves at once."""
        member = connection.member
        self.presence.leave(connection)
        rooms = self.presence._rooms
        await until(
            lambda: (
                member.channel_id not in rooms
                or member.key not in rooms[member.channel_id].members
            )
        )

    async def until_told(self) -> None:
        """Wait until the store knows the members of this process."""
        await until(lambda: self.presence.changes.are_told)

    def kill(self) -> None:
        """End as a process does that is killed: it says nothing to Redis any more."""
        self.is_running = False
        self.messages.close()

    async def read(self, watcher: Watcher, room: str = ROOM) -> Watcher:
        """Let a watcher take what the presence channel has told since it was read."""
        seen = getattr(watcher, "seen", START)
        for message in await self.messages.page(f"presence:{room}", seen, 1000):
            watcher.take(message.body)
            seen = message.id
        watcher.seen = seen  # type: ignore[attr-defined]
        return watcher


class Processes:
    """Several processes and their clock.

    Attributes:
        told: The signals that they have sent.
    """

    def __init__(self, settings: RedisStoreSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.told: list[tuple[str, str, str]] = []
        self.running: list[Process] = []

    async def start(self) -> Process:
        process = self.make()
        await process.store.beat()
        return process

    def make(self) -> Process:
        """Return a process that has not yet said that it is alive."""
        process = Process(self.settings, self.clock, self.told)
        self.running.append(process)
        return process

    async def move(self, seconds: float) -> None:
        """Let time pass, in which each process says that it is alive.

        It says so a little less often than every second, as a busy one does.
        """
        while seconds > 0:
            step = min(seconds, 1.1)
            self.clock.move(step)
            seconds -= step
            await self.beat()

    async def beat(self) -> None:
        for each in self.running:
            if each.is_running:
                await each.store.beat()
                # A timer does this by the clock of the event loop, not the test's.
                each.presence.changes.refresh(ROOM)
                await each.until_told()

    def close(self) -> None:
        for each in self.running:
            if each.is_running:
                each.kill()


async def members(process: Process) -> dict[str, str]:
    """Return who is on the channel, as a process finds."""
    snapshot = await process.store.read(ROOM, for_page=False)
    assert snapshot.members is not None
    assert snapshot.named == len(snapshot.members)
    return snapshot.members
