"""Turn by turn: every server at every scenario, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from .load import LoadFailed
from .processes import ServerFailed
from .scenarios.base import Effort, Reading, Scenario
from .servers import CONTENDERS, Contender, NotInstalled

Say = Callable[[str], None]

FAILURES = (LoadFailed, NotInstalled, ServerFailed)


@dataclass(frozen=True)
class Result:
    """What a server gave in a scenario: a line of the JSON file.

    Attributes:
        scenario: The scenario's name.
        unit: What was counted.
        server: The server's name.
        values: Of each turn; it is itself the median of the turn's slices, if the
            servers were measured side by side.
        ratios: To the floor in the same turn; empty if that was not measured. Side by
            side, it is the median of those of the slices of one round.
        load: How busy the load generator's core was at most, in percent.
        more: What else is worth keeping, of the turn in the middle.
    """

    scenario: str
    unit: str
    server: str
    values: list[float]
    ratios: list[float]
    load: float | None
    more: dict[str, Any]

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.ratios else None

    @property
    def title(self) -> str:
        return CONTENDERS[self.server].title


def measure(
    scenario: Scenario, contenders: list[Contender], effort: Effort, say: Say
) -> list[Result]:
    """Return the results of the contenders that did all of a scenario's turns."""
    readings = _take_turns(scenario, contenders, effort, say)
    return [
        _sum_up(scenario, name, mine, readings.get(CONTENDERS[name].floor))
        for name, mine in readings.items()
    ]


def _take_turns(
    scenario: Scenario, contenders: list[Contender], effort: Effort, say: Say
) -> dict[str, list[Reading]]:
    """Return the readings of each server, turn by turn.

    A server that fails is told of, and left out with all that it gave before.
    """
    readings: dict[str, list[Reading]] = {each.name: [] for each in contenders}

    @contextmanager
    def guard(contender: Contender) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            say(f"{scenario.name}: {contender.title} is left out: {error}\n")
            del readings[contender.name]

    turns = min(effort.turns, scenario.turns)
    for turn in range(turns):
        say(f"{scenario.name} ({turn + 1} of {turns})")
        left = [each for each in contenders if each.name in readings]
        for name, reading in scenario.take_turn(left, effort, guard).items():
            readings[name].append(reading)
    return readings


def _sum_up(
    scenario: Scenario, server: str, mine: list[Reading], floor: list[Reading] | None
) -> Result:
    loads = [each.load for each in mine if each.load is not None]
    by_value = sorted(mine, key=lambda reading: reading.value)
    pairs = zip(mine, floor, strict=True) if floor else ()
    return Result(
        scenario.name,
        scenario.unit,
        server,
        [each.value for each in mine],
        [reading.compare(other) for reading, other in pairs],
        max(loads, default=None),
        by_value[(len(by_value) - 1) // 2].more,
    )
