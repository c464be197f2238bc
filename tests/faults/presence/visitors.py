"""Visitors who stay on a channel during faults, and watchers of who is there."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from tests.live.streaming import LiveStream
from tests.live.wire import request

ROOM = "room"

#: What a connection that fails raises.
FAILURES = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


class Visitor:
    """A user who has a stream or a held poll at one server after the other.

    It comes back as browsers do: after the time that the server has told last.

    Args:
        name: The key of the user.
        ports: Where the servers listen.
        polls: Whether it polls.

    Attributes:
        is_wanted: Whether it is on the channel, or tries to be.
    """

    def __init__(self, name: str, ports: list[int], *, polls: bool) -> None:
        self.name = name
        self._ports = cycle(ports)
        self._polls = polls
        self._position = ("Thu, 01 Jan 1970 00:00:00 GMT", "0")
        self._pause = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_wanted(self) -> bool:
        return self._task is not None

    def come(self) -> None:
        """Connect, and connect again when that ends, until it leaves."""
        self._task = asyncio.get_running_loop().create_task(self._stay())

    def leave(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def reconnect(self) -> None:
        """Lose the connection, and connect at once."""
        self.leave()
        self.come()

    async def _stay(self) -> None:
        while True:
            self._pause = random.uniform(0.5, 1.5)
            with suppress(*FAILURES):
                await self._connect(next(self._ports))
            await asyncio.sleep(self._pause)

    async def _connect(self, port: int) -> None:
        """Hold a request until it ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            since, tag = self._position
            position = [f"If-Modified-Since: {since}", f"If-None-Match: {tag}"]
            headers = position if self._polls else ["Accept: text/event-stream"]
            user = f"X-User: {self.name}"
            writer.write(request("GET", f"/updates/{ROOM}", user, *headers))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if self._polls:
                self._take_poll(head)
                return
            while line := await reader.readline():
                if line.startswith(b"retry:"):
                    self._pause = int(line[6:]) / 1000
                elif line == b"0\r\n":
                    return  # The last chunk; the connection may stay open.
        finally:
            writer.transport.abort()

    def _take_poll(self, head: str) -> None:
        status, *lines = head.split("\r\n")
        fields = (line.split(": ", 1) for line in lines if line)
        headers = {name.lower(): value for name, value in fields}
        if status.split(" ")[1] in ("200", "304"):
            self._position = headers["last-modified"], headers["etag"]
            self._pause = 0
        elif "retry-after" in headers:
            self._pause = int(headers["retry-after"]) + random.random()


@dataclass(frozen=True)
class Told:
    """A message of the presence channel.

    Attributes:
        at: When it came, by the event loop's clock.
        second: The second in its id.
        body: What it tells.
        is_live: Whether the connection had lasted for a while, so that it did not wait
            for the connection.
    """

    at: float
    second: str
    body: dict[str, Any]
    is_live: bool


class Watcher:
    """Somebody who is told who is on the channel, whatever happens to the servers.

    Args:
        ports: Where the servers listen.

    Attributes:
        told: The messages.
        members: Those who are there, as far as it was told.
        joins, leaves: How often each has come and gone, as far as it was told.
        repeated: How many changes were told again.
    """

    def __init__(self, ports: list[int]) -> None:
        self._ports = cycle(ports)
        self._id = "0:0"
        self._is_after_state = True
        self.told: list[Told] = []
        self.members: set[str] = set()
        self.joins: dict[str, int] = {}
        self.leaves: dict[str, int] = {}
        self.repeated = 0

    async def watch(self) -> None:
        """Listen, and listen again from there when that ends, for ever."""
        while True:
            with suppress(*FAILURES):
                await self._listen(next(self._ports))
            await asyncio.sleep(0.2)

    async def _listen(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        path, position = f"/updates/presence:{ROOM}", f"Last-Event-ID: {self._id}"
        stream = await LiveStream.open(port, path, position)
        opened_at = loop.time()
        taken = 0
        try:
            while True:
                has_ended = stream.has_ended
                for event in stream.events[taken:]:
                    taken += 1
                    if event.name != "message":
                        assert event.name == "push-unavailable", event
                        continue
                    self._id = event.id
                    now = loop.time()
                    second, body = event.id.partition(":")[0], json.loads(event.data)
                    self.told.append(Told(now, second, body, now - opened_at > 0.5))
                    self._take(body)
                if has_ended:
                    return
                await asyncio.sleep(0.01)
        finally:
            stream.close()

    def _take(self, body: dict[str, Any]) -> None:
        assert body["others"] == 0, body
        if body["type"] == "state":
            found = set(body["members"])
            self._note(found - self.members, self.members - found)
            self.members = found
            self._is_after_state = True
            return
        joins, leaves = set(body["joins"]), set(body["leaves"])
        if not self._is_after_state:
            # After a state, the first changes may be in it already.
            self.repeated += len(joins & self.members) + len(leaves - self.members)
        self._is_after_state = False
        self._note(joins - self.members, leaves & self.members)
        self.members = (self.members - leaves) | joins

    def _note(self, joins: set[str], leaves: set[str]) -> None:
        for counts, names in ((self.joins, joins), (self.leaves, leaves)):
            for name in names:
                counts[name] = counts.get(name, 0) + 1

    def find_busiest(self) -> int:
        """Return the most messages of a second.

        That is by their ids and by when they came, as both may deceive: by a clock that
        is set back, and when messages had to wait.
        """
        of_second = Counter(each.second for each in self.told)
        times = [each.at for each in self.told if each.is_live]
        came = (sum(at <= each < at + 1 for each in times) for at in times)
        return min(max(of_second.values(), default=0), max(came, default=0))
