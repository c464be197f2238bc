"""Turn by turn: every server at every scenario, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from .load import LoadFailed
from .processes import ServerFailed
from .scenarios.base import Effort, Reading, Scenario
from .servers import CONTENDERS, Contender, NotInstalled

Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What a server gave in a scenario: a line of the JSON file.

    Attributes:
        scenario: The scenario's name.
        unit: What was counted.
        server: The server's name.
        values: Of each turn.
        ratios: To the floor in the same turn; empty if that was not measured.
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
    scenarios: Iterable[Scenario], servers: set[str] | None, effort: Effort, say: Say
) -> Iterator[Result]:
    """Measure servers, all that a scenario is for if no names are given."""
    for scenario in scenarios:
        contenders = [
            CONTENDERS[name]
            for name in scenario.servers
            if servers is None or name in servers
        ]
        readings = _take_turns(scenario, contenders, effort, say)
        for name, mine in readings.items():
            if mine:
                floor = readings.get(CONTENDERS[name].floor, {})
                yield _sum_up(scenario, name, mine, floor)


def _take_turns(
    scenario: Scenario, contenders: list[Contender], effort: Effort, say: Say
) -> dict[str, dict[int, Reading]]:
    """Return the readings of each server, by turn; one that fails has no more turns."""
    readings: dict[str, dict[int, Reading]] = {each.name: {} for each in contenders}
    failed = set()
    turns = min(effort.turns, scenario.turns)
    for turn in range(turns):
        for contender in contenders:
            if contender.name in failed:
                continue
            place = f"{scenario.name}: {contender.title}"
            say(f"{place} ({turn + 1} of {turns})")
            try:
                with contender.start(scenario.env) as server:
                    reading = scenario.measure(contender, server, effort)
            except (LoadFailed, NotInstalled, ServerFailed) as error:
                say(f"{place}: {error}\n")
                failed.add(contender.name)
            else:
                readings[contender.name][turn] = reading
    return readings


def _sum_up(
    scenario: Scenario, server: str, mine: dict[int, Reading], floor: dict[int, Reading]
) -> Result:
    loads = [each.load for each in mine.values() if each.load is not None]
    by_value = sorted(mine.values(), key=lambda reading: reading.value)
    return Result(
        scenario.name,
        scenario.unit,
        server,
        [each.value for each in mine.values()],
        [mine[turn].value / floor[turn].value for turn in mine if turn in floor],
        max(loads, default=None),
        by_value[(len(by_value) - 1) // 2].more,
    )
