"""What a scenario is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import Server
from benchmarks.servers import Contender


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        turns: How often each server has its turn.
        seconds: How long it is under load each time.
        minutes: How long clients come and vanish.
        part: Of the numbers of clients and channels, where fewer do for a look.
    """

    turns: int = 5
    seconds: float = 1.2
    minutes: float = 0.5
    part: float = 1.0

    def few(self, number: int) -> int:
        """Return a number of clients or channels, or a part of it."""
        return max(int(number * self.part), 10)


QUICK = Effort(turns=1, seconds=0.3, minutes=0.05, part=0.1)


@dataclass(frozen=True)
class Reading:
    """What one turn of one server gave.

    Attributes:
        value: What counts.
        load: How busy the load generator's core was, in percent; None if it rested.
        more: What else is worth keeping.
    """

    value: float
    load: float | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """Something to measure servers at.

    Attributes:
        name: What it is called.
        unit: What is counted.
        measure: Puts a running server to it.
        servers: The names of the contenders.
        turns: How often at most, where what is measured hardly varies.
        env: What the servers' environment has besides.
    """

    name: str
    unit: str
    measure: Callable[[Contender, Server, Effort], Reading]
    servers: tuple[str, ...]
    turns: int = 5
    env: dict[str, str] = field(default_factory=dict)


EVERYBODY = (
    "daphne-bare",
    "daphne",
    "runpushserver",
    "eventstream-daphne",
    "uvicorn-bare",
    "uvicorn",
    "uvicorn-tuned",
    "eventstream-uvicorn",
    "nchan",
)
WITHOUT_EVENTSTREAM = tuple(name for name in EVERYBODY if "eventstream" not in name)
REDIS = ("daphne", "daphne-redis", "uvicorn", "uvicorn-redis")
