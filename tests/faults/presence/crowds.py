"""The visitors and the watchers of a channel during a fault."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from .outcomes import Outcome
from .visitors import Visitor, Watcher
from .worlds import LATEST, NOTICED, PresenceWorld

#: How many members leave during the fault, and how many come.
MOVING = 5

#: The most seconds until all are there at first.
PATIENCE = 120.0


class Crowd:
    """Members of a channel, and watchers, as an asynchronous context manager.

    Half of the members poll, and the others have streams.

    Args:
        world: The servers.
        members: How many members there are.
    """

    def __init__(self, world: PresenceWorld, members: int) -> None:
        self.world = world
        ports = [each.port for each in world.servers]
        names = [f"user{number}" for number in range(members + MOVING)]
        self._visitors = [
            Visitor(name, ports[number % len(ports) :] + ports, polls=number % 4 > 1)
            for number, name in enumerate(names)
        ]
        self.leaving = self._visitors[members - MOVING : members]
        self.coming = self._visitors[members:]
        self.staying = self._visitors[: members - MOVING]
        self.watchers = [Watcher(ports[number:] + ports) for number in range(2)]
        self._watching: list[asyncio.Task[None]] = []
        # How often each has really come and gone.
        self._moves = {each.name: [0, 0] for each in self._visitors}
        self._fault_began = 0.0
        #: Seconds in which all must be right again.
        self.patience = world.grace + LATEST

    async def __aenter__(self) -> Crowd:
        loop = asyncio.get_running_loop()
        self._watching = [loop.create_task(each.watch()) for each in self.watchers]
        self.come([*self.staying, *self.leaving])
        assert await self.settle(PATIENCE), "Not all members have come."
        return self

    async def __aexit__(self, *error: object) -> None:
        for each in self._visitors:
            each.leave()
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    def come(self, visitors: Sequence[Visitor]) -> None:
        """Let visitors come."""
        for each in visitors:
            each.come()
            self._moves[each.name][0] += 1

    def leave(self, visitors: Sequence[Visitor]) -> None:
        """Let visitors leave for good, or for longer than the grace."""
        for each in visitors:
            each.leave()
            self._moves[each.name][1] += 1

    @property
    def expected(self) -> set[str]:
        """Those who are there, or try to be."""
        return {each.name for each in self._visitors if each.is_wanted}

    async def settle(self, timeout: float | None = None) -> bool:
        """Wait until all watchers know who is there; return whether they do."""
        deadline = time.monotonic() + (timeout or self.patience)
        while time.monotonic() < deadline:
            expected = self.expected
            if all(each.members == expected for each in self.watchers):
                return True
            await asyncio.sleep(0.05)
        return False

    def begin_fault(self) -> None:
        """Count messages from now on."""
        self._fault_began = asyncio.get_running_loop().time()

    async def measure(self) -> Outcome:
        """Return the outcome, when the fault is over."""
        loop = asyncio.get_running_loop()
        ended = loop.time()
        await self.settle()
        outcome = Outcome(members=len(self.expected), settled=loop.time() - ended)
        await self.compare(outcome)
        noticed = ended + self.world.grace + NOTICED
        await asyncio.sleep(max(noticed - loop.time(), 0))
        await self.compare(outcome)
        for watcher in self.watchers:
            outcome.repeated += watcher.repeated
            outcome.busiest = max(outcome.busiest, watcher.find_busiest())
            times = [each.at for each in watcher.told]
            told = sum(each >= self._fault_began for each in times)
            outcome.told = max(outcome.told, told)
            flickered = [
                name
                for name, (_, leaves) in self._moves.items()
                if watcher.leaves.get(name, 0) > leaves
            ]
            outcome.flickered = max(outcome.flickered, len(flickered))
        first = self.watchers[0]
        outcome.add_signals(self.world.read_signals(), first.joins, first.leaves)
        outcome.counted = await asyncio.to_thread(self.world.count_missed)
        return outcome

    async def compare(self, outcome: Outcome) -> None:
        """Compare who is there with what the channel tells, old and new watchers."""
        for watcher in self.watchers:
            outcome.add_view(watcher.members, self.expected)
        for members in await asyncio.to_thread(self.world.read_members):
            outcome.add_view(members, self.expected)
