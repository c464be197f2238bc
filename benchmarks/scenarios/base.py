"""The base classes of scenarios: servers measured one by one, or side by side."""

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
        rounds: The most slices in a turn.
        minutes: How long clients come and vanish in the scenario ``churn``.
        part: The factor for the numbers of clients and channels.
    """

    turns: int = 5
    rounds: int = 100
    minutes: float = 0.5
    part: float = 1.0

    def few(self, number: int) -> int:
        """Return a number of clients or channels, reduced by ``part``."""
        return max(int(number * self.part), 10)


QUICK = Effort(turns=1, rounds=3, minutes=0.05, part=0.1)


@dataclass(frozen=True)
class Reading:
    """The result of one turn of one server.

    Attributes:
        value: The value.
        load: The load of the load generator's core in percent, None if it was idle.
        more: Other figures.
        slices: The slices, if it was measured side by side with others.
    """

    value: float
    load: float | None = None
    more: dict[str, Any] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)

    def compare(self, floor: Reading) -> float:
        """Return the ratio to the baseline in the same turn."""
        if self.slices:
            return compare(self.slices, floor.slices)
        return self.value / floor.value


@dataclass(frozen=True, kw_only=True)
class Scenario(ABC):
    """A measurement of several servers.

    Attributes:
        name: The name.
        unit: The unit of the values.
        servers: The names of the contenders.
        turns: The most turns, fewer for values that hardly vary.
        env: Environment variables of the servers.
        floors: The baselines that are not those of the contenders, by their names.
    """

    name: str
    unit: str
    servers: tuple[str, ...]
    turns: int = 5
    env: dict[str, str] = field(default_factory=dict)
    floors: dict[str, str] = field(default_factory=dict)

    @abstractmethod
    def take_turn(
        self, contenders: Sequence[Contender], effort: Effort, guard: Guard
    ) -> dict[str, Reading]:
        """Return the readings of all contenders that do not fail.

        Args:
            contenders: The contenders.
            effort: How long to measure.
            guard: Returns a context manager that suppresses the errors of a contender.
        """


@dataclass(frozen=True, kw_only=True)
class Alone(Scenario):
    """Measures one server after the other.

    Attributes:
        measure: Starts servers of one contender, and measures them.
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
    """Measures all servers at once, in short slices.

    Attributes:
        connect: Returns the load for a running server, as a context manager.
        rounds: The number of slices of each server in a turn.
    """

    connect: Callable[[Contender, Server, Effort], AbstractContextManager[Load]]
    rounds: int = 24

    def take_turn(
        self, contenders: Sequence[Contender], effort: Effort, guard: Guard
    ) -> dict[str, Reading]:
        loads = {}
        with ExitStack() as stack:
            for contender in contenders:
                with guard(contender), ExitStack() as mine:
                    server = mine.enter_context(contender.start(self.env))
                    loading = self.connect(contender, server, effort)
                    loads[contender] = mine.enter_context(loading)
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
