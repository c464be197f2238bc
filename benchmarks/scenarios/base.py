"""What a scenario is: one server after the other, or all of them side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.load import Load, Slice
from benchmarks.processes import Server
from benchmarks.servers import Contender
from benchmarks.slices import (
    compare,
    find_busy,
    find_load,
    find_median_rate,
    take_slices,
)

Start = Callable[[], AbstractContextManager[Server]]
Guard = Callable[[Contender], AbstractContextManager[object]]


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        turns: How often each server is started and measured.
        rounds: In how many slices of a turn at most.
        minutes: How long clients come and vanish.
        part: Of the numbers of clients and channels, where fewer do for a look.
    """

    turns: int = 5
    rounds: int = 100
    minutes: float = 0.5
    part: float = 1.0

    def few(self, number: int) -> int:
        """Return a number of clients or channels, or a part of it."""
        return max(int(number * self.part), 10)


QUICK = Effort(turns=1, rounds=3, minutes=0.05, part=0.1)


@dataclass(frozen=True)
class Reading:
    """What one turn of one server gave.

    Attributes:
        value: What counts.
        load: How busy the load generator's core was, in percent; None if it rested.
        more: What else is worth keeping.
        slices: Those of its rounds, if it was measured side by side with others.
    """

    value: float
    load: float | None = None
    more: dict[str, Any] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)

    def compare(self, floor: Reading) -> float:
        """Return it as a part of what the floor gave in the same turn."""
        if self.slices:
            return compare(self.slices, floor.slices)
        return self.value / floor.value


@dataclass(frozen=True, kw_only=True)
class Scenario(ABC):
    """Something to measure servers at.

    Attributes:
        name: What it is called.
        unit: What is counted.
        servers: The names of the contenders.
        turns: How often at most, where what is measured hardly varies.
        env: What the servers' environment has besides.
    """

    name: str
    unit: str
    servers: tuple[str, ...]
    turns: int = 5
    env: dict[str, str] = field(default_factory=dict)

    @abstractmethod
    def take_turn(
        self, contenders: Sequence[Contender], effort: Effort, guard: Guard
    ) -> dict[str, Reading]:
        """Return the readings of all that do not fail.

        Args:
            contenders: Who is measured.
            effort: How long.
            guard: A context manager for all that is done with a contender, which
                swallows what it fails with.
        """


@dataclass(frozen=True, kw_only=True)
class Alone(Scenario):
    """One server after the other.

    Attributes:
        measure: Starts servers of one contender, and measures it.
    """

    measure: Callable[[Contender, Start, Effort], Reading]

    def take_turn(
        self, contenders: Sequence[Contender], effort: Effort, guard: Guard
    ) -> dict[str, Reading]:
        readings = {}
        for contender in contenders:
            with guard(contender):
                start = partial(contender.start, self.env)
                readings[contender.name] = self.measure(contender, start, effort)
        return readings


@dataclass(frozen=True, kw_only=True)
class SideBySide(Scenario):
    """All servers at once, in short slices.

    Attributes:
        connect: Puts the clients to a running server.
        rounds: How many slices each server has in a turn.
    """

    connect: Callable[[Contender, Server, Effort], Load]
    rounds: int = 24

    def take_turn(
        self, contenders: Sequence[Contender], effort: Effort, guard: Guard
    ) -> dict[str, Reading]:
        loads = {}
        with ExitStack() as stack:
            for contender in contenders:
                with guard(contender), ExitStack() as mine:
                    server = mine.enter_context(contender.start(self.env))
                    load = self.connect(contender, server, effort)
                    loads[contender] = mine.enter_context(load)
                    server.rest()
                    stack.push(mine.pop_all())
            rounds = min(self.rounds, effort.rounds)
            slices = take_slices(loads, rounds, guard)
        return {contender.name: _read(mine) for contender, mine in slices.items()}


def _read(slices: list[Slice]) -> Reading:
    more = {
        "server_cpu_pct": round(find_busy(slices), 1),
        "slices": len(slices),
        "disconnects": slices[-1].disconnects,
    }
    return Reading(find_median_rate(slices), find_load(slices), more, slices)


EVERYBODY = (
    "daphne-bare",
    "daphne",
    "runpushserver",
    "eventstream-daphne",
    "uvicorn-bare",
    "uvicorn",
    "uvicorn-bare-tuned",
    "uvicorn-tuned",
    "eventstream-uvicorn",
    "nchan",
)
WITHOUT_EVENTSTREAM = tuple(name for name in EVERYBODY if "eventstream" not in name)
REDIS = ("daphne", "daphne-redis", "uvicorn", "uvicorn-redis")
