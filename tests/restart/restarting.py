"""Restart processes behind nginx one after the other, under thousands of clients."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests import http
from tests.conformance.servers import Nginx, nginx
from tests.live.crowds import Client, EventClient
from tests.live.wire import Wire
from tests.servers import ServerProcess, daphne
from tests.valkey import Valkey
from tests.waiting import until

from .poll_client import PollClient

#: How many processes serve.
PROCESSES = 4

#: Seconds within which the servers are expected to hold all clients.
PATIENCE = 120.0

#: Seconds within which a process stops, besides those in which it drains.
STOP_TIMEOUT = 90.0


class Timed(Client):
    """A client that knows how long each message took to reach it.

    Attributes:
        sent: When each message was sent, by its number.
        longest: The longest time in seconds from then until it was received.
    """

    sent: dict[int, float]
    longest = 0.0

    def hear(self, body: str) -> None:
        super().hear(body)
        self.longest = max(self.longest, time.monotonic() - self.sent[int(body)])


class TimedEvents(Timed, EventClient):
    """A stream."""

    def read_head(self, head: bytes) -> None:
        super().read_head(head)
        self._is_refused = not head.startswith(b"HTTP/1.1 200 ")
        if self._is_refused and self.transport is not None:
            self.transport.close()

    def read(self, data: bytes) -> bytes:
        if self._is_refused:
            return b""
        rest = super().read(data)
        if self._is_whole and self.transport is not None:
            self.transport.close()  # nginx keeps the connection, a browser does not.
        return rest


class TimedPoll(Timed, PollClient):
    """A long poll."""


@dataclass
class Channel:
    """A channel with its clients.

    Attributes:
        name: Its id.
        clients: Its clients.
        sent: When each of its messages was sent, by number.
    """

    name: str
    clients: list[Timed]
    sent: dict[int, float] = field(default_factory=dict)


@dataclass
class Result:
    """What happened.

    Attributes:
        clients: How many clients there were.
        messages: How many messages were published.
        received: How many were received, counted for each client.
        lost: How many were not.
        wrong: How many came twice or in another order, or with a gap before them.
        statuses: How many answers of each status publishers and polls were sent.
        faults: Other answers than clients expect, such as 502.
        longest: The longest time in seconds from publishing a message to its receipt.
        slowest: The longest time in seconds that a publisher waited for its answer.
        restarts: The seconds in which each process stopped, and started again.
        errors: The errors that nginx has logged, without what differs each time.
    """

    clients: int
    messages: int
    received: int
    lost: int
    wrong: int
    statuses: Counter[str]
    faults: Counter[str]
    longest: float
    slowest: float
    restarts: list[tuple[float, float]]
    errors: Counter[str]


class Restarting:
    """Four processes behind an nginx, with clients and publishers.

    Args:
        clients: The number of clients, one half streams and the other half polls.
        channels: The number of channels among which they are distributed.
        interval: The seconds between two messages of a channel.
        drain: The seconds over which a process ends what it holds.
        stack: Ends the processes.
    """

    def __init__(
        self,
        clients: int,
        channels: int,
        interval: float,
        drain: float,
        stack: ExitStack,
    ) -> None:
        self.interval = interval
        valkey = stack.enter_context(Valkey())
        conf: dict[str, Any] = {
            "store": {"type": "redis", "url": valkey.url, "max_messages": 1000},
            "drain": drain,
            "locations": [
                {"type": "metrics", "url": "/metrics"},
                {"type": "health", "url": "/health"},
                {"type": "publisher", "url": "/send-update/([^/]+)"},
                {
                    "type": "subscriber",
                    "url": "/updates/([^/]+)",
                    "create_on_get": True,
                },
            ],
        }
        self.servers = [stack.enter_context(daphne(conf)) for _ in range(PROCESSES)]
        addresses = (f"127.0.0.1:{each.port}" for each in self.servers)
        options = [word for each in addresses for word in ("--django", each)]
        self.nginx: Nginx = stack.enter_context(nginx(conf, "--proxy", *options))
        self.channels = [
            Channel(f"c{number}", list(make_clients(f"/updates/c{number}", half)))
            for number, half in enumerate(share(clients, channels))
        ]
        for channel in self.channels:
            for each in channel.clients:
                each.sent = channel.sent
        self.statuses: Counter[str] = Counter()
        self.slowest = 0.0
        self.is_ending = False
        self._running: list[asyncio.Task[None]] = []

    @property
    def clients(self) -> list[Timed]:
        return [each for channel in self.channels for each in channel.clients]

    async def subscribe(self) -> None:
        """Start all clients, and wait until the servers hold them."""
        for number, each in enumerate(self.clients):
            self._running.append(asyncio.ensure_future(each.run(self.nginx.port)))
            if number % 50 == 49:  # More at once than a backlog holds are refused.
                await asyncio.sleep(0.1)
        total = len(self.clients)

        async def are_held() -> bool:
            counts = [await asyncio.to_thread(count_held, s) for s in self.servers]
            return sum(counts) == total

        await until(are_held, PATIENCE, interval=0.5)

    async def publish(self) -> None:
        """Publish on all channels in turn, until the task is told to stop."""
        pause = self.interval / len(self.channels)
        async with await Wire.open(self.nginx.port) as wire:
            for channel in cycle(self.channels):
                if self.is_ending:
                    break
                number = len(channel.sent)
                channel.sent[number] = time.monotonic()
                path = f"/send-update/{channel.name}"
                answer = await wire.ask("POST", path, body=b"%d" % number)
                took = time.monotonic() - channel.sent[number]
                self.slowest = max(self.slowest, took)
                self.statuses[f"POST {answer.status}"] += 1
                await asyncio.sleep(pause)

    async def restart_all(self) -> list[tuple[float, float]]:
        """Restart one process after the other.

        Return the seconds that each took to stop, and to start.
        """
        taken = []
        for each in self.servers:
            started = time.monotonic()
            await asyncio.to_thread(each.stop, timeout=STOP_TIMEOUT)
            stopped = time.monotonic()
            await asyncio.to_thread(each.start)
            taken.append((stopped - started, time.monotonic() - stopped))
        return taken

    async def run(self) -> Result:
        """Restart all processes while messages are published; return what happened."""
        try:
            await self.subscribe()
            publishing = asyncio.ensure_future(self.publish())
            self._running.append(publishing)
            await asyncio.sleep(self.interval)
            restarts = await self.restart_all()
            await asyncio.sleep(self.interval)
            self.is_ending = True
            await publishing
            with suppress(AssertionError):  # What is missing is counted as lost.
                await until(self._have_all, PATIENCE, interval=0.5)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            for each in self.clients:
                if each.transport is not None:
                    each.transport.abort()
        return self._sum_up(restarts)

    def _have_all(self) -> bool:
        return all(
            len(each.numbers) >= len(channel.sent)
            for channel in self.channels
            for each in channel.clients
        )

    def _sum_up(self, restarts: list[tuple[float, float]]) -> Result:
        lost = wrong = 0
        statuses, faults = Counter(self.statuses), Counter[str]()
        for channel in self.channels:
            expected = list(range(len(channel.sent)))
            for each in channel.clients:
                lost += len(set(expected).difference(each.numbers))
                wrong += each.numbers != sorted(set(each.numbers))
                statuses.update(each.ends)
                for fault in each.faults:
                    if "event: push-unavailable" in fault:
                        statuses["push-unavailable"] += 1
                    else:
                        faults[fault.partition("\r\n")[0]] += 1
        return Result(
            len(self.clients),
            sum(len(each.sent) for each in self.channels),
            sum(len(each.numbers) for each in self.clients),
            lost,
            wrong,
            statuses,
            faults,
            max(each.longest for each in self.clients),
            self.slowest,
            restarts,
            count_errors(self.nginx),
        )


def make_clients(path: str, count: int) -> list[Timed]:
    """Return as many streams as polls of a channel."""
    half = count // 2
    streams: list[Timed] = [TimedEvents(path, 1.0) for _ in range(half)]
    return [*streams, *(TimedPoll(path, 1.0) for _ in range(count - half))]


def share(total: int, parts: int) -> list[int]:
    """Return a total in parts that differ by at most 1."""
    return [total * (n + 1) // parts - total * n // parts for n in range(parts)]


def count_errors(server: Nginx) -> Counter[str]:
    """Return what an nginx has logged, and how often."""
    lines = server.file.with_name("error.log").read_text().splitlines()
    return Counter(
        f"{said} {method}"
        for line in lines
        for said, method in re.findall(r"\*\d+ (.*?), client.*?request: \"(\w+)", line)
    )


def count_held(server: ServerProcess) -> int:
    """Return how many subscribers a process holds."""
    text = http.get(f"{server.url}/metrics").text
    pid = str(server.process.pid)
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "pushserver_subscribers"
        and sample.labels["process"].rpartition(":")[2] == pid
    )


async def restart_all(
    clients: int, channels: int, interval: float, drain: float
) -> Result:
    """Start processes and clients, restart the processes, and return what happened.

    The arguments are those of :class:`Restarting`.
    """
    with ExitStack() as stack:
        restarting = Restarting(clients, channels, interval, drain, stack)
        result = await restarting.run()
        for each in restarting.servers:
            assert "Traceback" not in each.log(), each.log()
        return result
