"""Visitors of channels with presence, who watch them as pages do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from django.http import HttpRequest

from pushserver.access import Grant
from pushserver_channels.hub import hubs
from tests.server.exchanges import Headers, Site
from tests.server.streams import EventExchange, leave, open_stream
from tests.waiting import until

Serving = Callable[..., Site]


def may_listen(request: HttpRequest, channel_id: str) -> bool | Grant:
    """Allow everybody everything but what is secret, under the name in a header."""
    if channel_id.startswith("secret"):
        return False
    info = request.headers.get("X-Info")
    return Grant(
        user=request.headers.get("X-User"),
        info=None if info is None else json.loads(info),
    )


def may_listen_quoted(request: HttpRequest, channel_id: str) -> Grant:
    """Allow everybody everything, under the percent-encoded name in a header."""
    return Grant(user=unquote(request.headers.get("X-User", "")))


def may_listen_strangely(request: HttpRequest, channel_id: str) -> Grant:
    """Tell of everybody what cannot be told."""
    return Grant(user=request.headers.get("X-User"), info=object())


def visitor(user: str | None, info: Any = None) -> list[tuple[bytes, bytes]]:
    """Return the headers of a visitor, None for an anonymous one."""
    headers = [] if user is None else [(b"x-user", user.encode())]
    return (
        headers if info is None else [*headers, (b"x-info", json.dumps(info).encode())]
    )


class Watcher:
    """Keeps who is on a channel, as a page does by what the channel tells.

    Attributes:
        states: How many states have come.
        diffs: The changes that have come.
        members: What is told about each member.
        count: The number of named members if only numbers are told, else None.
        others: The number of anonymous members.
    """

    def __init__(self) -> None:
        self.states = 0
        self.diffs: list[dict[str, Any]] = []
        self.members: dict[str, Any] = {}
        self.count: int | None = None
        self.others = 0

    def take(self, body: str | bytes) -> None:
        """Take a message of the presence channel."""
        message = json.loads(body)
        self.count = message.get("count")
        self.others = message["others"]
        if message["type"] == "state":
            self.states += 1
            self.members = dict(message.get("members", {}))
            return
        self.diffs.append(message)
        if self.count is not None:
            self.members = {}
        self.members.update(message.get("joins", {}))
        for key in message.get("leaves", {}):
            self.members.pop(key, None)

    @property
    def infos(self) -> Mapping[str, Any]:
        """What is told about each member, without the object around it."""
        return {key: each["info"] for key, each in self.members.items()}


class Watching(Watcher):
    """A stream that watches a channel."""

    def __init__(self, stream: EventExchange) -> None:
        super().__init__()
        self.stream = stream
        self._taken = 0

    def read(self) -> None:
        self.stream.read()
        for body in self.stream.bodies[self._taken :]:
            self._taken += 1
            self.take(body)

    async def until(self, condition: Callable[[Watching], Any]) -> None:
        """Wait until what the channel has told meets a condition."""

        def is_met() -> Any:
            self.read()
            assert not self.stream.future.done(), self.stream.text
            return condition(self)

        await until(is_met)

    async def until_here(self, *users: str, others: int = 0) -> None:
        """Wait until exactly these are on the channel."""
        await self.until(
            lambda seen: set(seen.members) == set(users) and seen.others == others
        )

    async def end(self) -> None:
        await leave(self.stream)


async def watch(
    site: Site, channel_id: str, headers: Headers = (), query: str = ""
) -> Watching:
    """Watch who is on a channel, once the state has come."""
    path = f"/updates/presence:{channel_id}{query}"
    watching = Watching(await open_stream(site, path, headers))
    if not query:
        await watching.until(lambda seen: seen.states)
    return watching


async def come(
    site: Site, channel_id: str, user: str | None, info: Any = None, query: str = ""
) -> EventExchange:
    """Let a visitor open a stream on a channel."""
    return await open_stream(site, f"/updates/{channel_id}{query}", visitor(user, info))


def count_subscribers(channel_id: str) -> int:
    return len(hubs.get("default").waiting.get(channel_id, ()))
