"""Visitors and watchers of channels with presence, at real servers."""

from __future__ import annotations

from tests.server.presence.visitors import Watcher
from tests.servers import ServerProcess
from tests.waiting import until

from .streaming import LiveStream


class LiveWatcher(Watcher):
    """A stream that watches a channel at a server."""

    def __init__(self, stream: LiveStream) -> None:
        super().__init__()
        self.stream = stream
        self._taken = 0

    @classmethod
    async def open(cls, server: ServerProcess, channel_id: str) -> LiveWatcher:
        path = f"/updates/presence:{channel_id}"
        return cls(await LiveStream.open(server.port, path))

    def read(self) -> LiveWatcher:
        for body in self.stream.bodies[self._taken :]:
            self._taken += 1
            self.take(body)
        return self

    async def until_here(self, users: set[str], others: int = 0) -> None:
        await until(lambda: set(self.read().members) == users and self.others == others)


async def come(server: ServerProcess, channel_id: str, user: str | None) -> LiveStream:
    """Return a stream of a visitor, who comes back while the store is away."""
    headers = [] if user is None else [f"X-User: {user}"]

    async def is_open() -> LiveStream | None:
        stream = await LiveStream.open(server.port, f"/updates/{channel_id}", *headers)
        return None if stream.events or stream.has_ended else stream

    stream: LiveStream = await until(is_open, interval=0.2)
    return stream


def names(count: int) -> set[str]:
    return {f"user{number}" for number in range(count)}
