"""Measure servers in a scenario, in several turns, and summarize the results."""

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
    """The result of a server in a scenario: an entry of the JSON file.

    Attributes:
        scenario: The name of the scenario.
        unit: The unit of the values.
        server: The name of the server.
        values: The value of each turn: the median of its slices, if the servers were
            measured side by side.
        ratios: The ratio to the baseline in each turn, empty if that was not measured.
            Side by side, it is the median of the ratios of the slices.
        load: The highest load of the load generator's core, in percent.
        more: Other figures of the turn with the median value.
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
    """Return the results of the contenders that completed all turns of a scenario."""
    readings = _take_turns(scenario, contenders, effort, say)
    floors = {name: CONTENDERS[name].floor for name in readings} | scenario.floors
    return [
        _sum_up(scenario, name, mine, readings.get(floors[name]))
        for name, mine in readings.items()
    ]


def _take_turns(
    scenario: Scenario, contenders: list[Contender], effort: Effort, say: Say
) -> dict[str, list[Reading]]:
    """Return the readings of each server, one for each turn.

    A server that fails is reported and left out, with its earlier readings.
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
