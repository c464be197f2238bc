"""The memory of held clients, and the memory that remains when they have left.

The clients come twice. Python keeps the memory of the first wave for the next one; if
more remains after the second wave, there is a leak.
"""

from __future__ import annotations

import time
from functools import partial

from benchmarks.load import hold
from benchmarks.processes import Server
from benchmarks.servers import Contender

from .base import EVERYBODY, REDIS, Alone, Effort, Reading, Start

CLIENTS = 5_000
#: The number of clients of django-eventstream, which starts streams slowly.
STREAMS = 1_000
UNIT = "bytes/client"

#: Seconds for which the memory must not change to count as settled. It is longer while
#: clients are held, because the push server begins to watch them after a second.
SETTLED, SETTLED_HELD = 0.3, 1.5


def measure(contender: Contender, start: Start, effort: Effort) -> Reading:
    with start() as server:
        clients = effort.few(STREAMS if contender.mode == "sse" else CLIENTS)
        wait = partial(hold, server, mode=contender.mode, channels=contender.channels)
        with wait(50):
            pass  # Allocations for the first clients do not count.
        levels = [settle(server)]
        for _ in range(2):
            with wait(clients):
                levels.append(settle(server, SETTLED_HELD))
            levels.append(settle(server))
    before, held, left, held_again, left_again = levels
    return Reading(
        (held - before) / clients,
        more={
            "left": (left - before) / clients,
            "held_again": (held_again - before) / clients,
            "left_again": (left_again - before) / clients,
        },
    )


def settle(server: Server, settled: float = SETTLED) -> int:
    """Return a server's memory in bytes, once it has not changed for some seconds."""
    server.wait_until_quiet()
    memory, since = server.memory, time.monotonic()
    while time.monotonic() - since < settled:
        time.sleep(0.05)
        now = server.memory
        if abs(now - memory) > 65_536:
            memory, since = now, time.monotonic()
    return memory


IDLE = Alone(
    name="idle",
    unit=UNIT,
    servers=tuple(name for name in EVERYBODY if name != "uvicorn-bare-tuned"),
    measure=measure,
)
REDIS_IDLE = Alone(name="redis idle", unit=UNIT, servers=REDIS, measure=measure)
