"""What a publish costs with few and with many channels, messages and held clients.

The value is the rate with most of them, as a part of the rate with fewest.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import load
from benchmarks.processes import Server
from benchmarks.servers import Contender

from .base import Effort, Reading, Scenario
from .idle import settle

SIZES = (10, 1_000, 100_000)
HELD = (10, 1_000, 10_000)
UNIT = "of the rate at 10"


def measure_channels(contender: Contender, server: Server, effort: Effort) -> Reading:
    return _measure(server, effort, lambda size: ("--chan", "grow", "-M", size))


def measure_messages(contender: Contender, server: Server, effort: Effort) -> Reading:
    return _measure(server, effort, lambda size: ("--chan", f"grow{size}"))


def _measure(
    server: Server, effort: Effort, choose: Callable[[int], tuple[object, ...]]
) -> Reading:
    """Measure after publishing as many messages as there are channels, or are kept."""
    reports = {}
    load.run(server, "publish", "-k", 10, "-d", 10)
    for size in map(effort.few, SIZES):
        where = choose(size)
        before = server.memory
        load.run(server, "publish", *where, "-k", size, "-d", load.TIME_LIMIT)
        grown = server.memory - before
        reports[size] = load.run(server, "publish", *where, "-d", effort.seconds)
    return _read(reports, {"bytes_each": grown / size})


def measure_held(contender: Contender, server: Server, effort: Effort) -> Reading:
    """Measure what a publish costs while others wait on another channel."""
    reports = {}
    for size in map(effort.few, HELD):
        with load.held(server, size):
            settle(server, effort)  # All have asked, but not all are held yet.
            reports[size] = load.run(server, "publish", "-d", effort.seconds)
    return _read(reports, {})


def _read(reports: dict[int, dict[str, float]], more: dict[str, float]) -> Reading:
    rates = {f"{size:,}": each["req_per_s"] for size, each in reports.items()}
    first, *_, last = rates.values()
    busy = max(each["client_cpu_pct"] for each in reports.values())
    return Reading(last / first, busy, {"rates": rates, **more})


GROW = (
    Scenario("grow channels", UNIT, measure_channels, ("uvicorn",), turns=3),
    Scenario(
        "grow messages",
        UNIT,
        measure_messages,
        ("uvicorn",),
        turns=3,
        # All of them are kept.
        env={"BENCHMARK_MAX_MESSAGES": "0"},
    ),
    Scenario(
        "grow held", UNIT, measure_held, ("daphne", "runpushserver", "uvicorn"), turns=3
    ),
)
