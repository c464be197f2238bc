"""The cost of a publish with few and with many channels, messages and held clients.

The value is the ratio of the rate with the most to the rate with the fewest. There is a
server for each size, and they take turns, as different servers do elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from benchmarks.load import Load, hold
from benchmarks.processes import Server
from benchmarks.servers import Contender
from benchmarks.slices import compare, find_load, find_median_rate, take_slices

from .base import Alone, Effort, Reading, Start

SIZES = (10, 1_000, 100_000)
HELD = (10, 1_000, 10_000)
UNIT = "of the rate at 10"
ROUNDS = 12


def measure_channels(contender: Contender, start: Start, effort: Effort) -> Reading:
    def connect(server: Server, size: int, stack: ExitStack) -> Load:
        return stack.enter_context(Load(server, "publish", channels=size))

    return _measure_filled(start, effort, connect)


def measure_messages(contender: Contender, start: Start, effort: Effort) -> Reading:
    def connect(server: Server, size: int, stack: ExitStack) -> Load:
        return stack.enter_context(Load(server, "publish"))

    return _measure_filled(start, effort, connect)


def measure_held(contender: Contender, start: Start, effort: Effort) -> Reading:
    """Measure publishing while clients wait on another channel."""

    def connect(server: Server, size: int, stack: ExitStack) -> Load:
        stack.enter_context(hold(server, size))
        return stack.enter_context(Load(server, "publish"))

    return _measure(start, effort, HELD, connect)


Connect = Callable[[Server, int, ExitStack], Load]


def _measure_filled(start: Start, effort: Effort, connect: Connect) -> Reading:
    """Measure after as many messages as ``size`` were published."""
    more: dict[str, float] = {}

    def connect_and_fill(server: Server, size: int, stack: ExitStack) -> Load:
        load = connect(server, size, stack)
        load.publish(10)  # Allocations for the first messages do not count.
        before = server.memory
        load.publish(size)
        more["bytes_each"] = (server.memory - before) / size
        return load

    reading = _measure(start, effort, SIZES, connect_and_fill)
    reading.more.update(more)
    return reading


def _measure(
    start: Start, effort: Effort, sizes: Sequence[int], connect: Connect
) -> Reading:
    loads = {}
    with ExitStack() as stack:
        for size in map(effort.few, sizes):
            server = stack.enter_context(start())
            loads[size] = connect(server, size, stack)
            server.rest()
        slices = take_slices(loads, min(ROUNDS, effort.rounds))
    rates = {f"{size:,}": find_median_rate(mine) for size, mine in slices.items()}
    fewest, most = slices[min(slices)], slices[max(slices)]
    busy = max(map(find_load, slices.values()))
    return Reading(compare(most, fewest), busy, {"rates": rates})


GROW = (
    Alone(
        name="grow channels", unit=UNIT, servers=("uvicorn",), measure=measure_channels
    ),
    Alone(
        name="grow messages",
        unit=UNIT,
        servers=("uvicorn",),
        measure=measure_messages,
        # All of them are kept.
        env={"BENCHMARK_MAX_MESSAGES": "0"},
    ),
    Alone(
        name="grow held",
        unit=UNIT,
        servers=("daphne", "runpushserver", "uvicorn"),
        measure=measure_held,
    ),
)
