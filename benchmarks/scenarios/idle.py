"""Waiting costs memory: bytes for each held client, and what stays when they left.

The clients come twice. What the first wave leaves behind is Python's own memory, kept
for the next one; if the second wave leaves more, something is never given back.
"""

from __future__ import annotations

import time

from benchmarks.load import hold
from benchmarks.processes import Server
from benchmarks.servers import Contender

from .base import EVERYBODY, REDIS, Alone, Effort, Reading, Start

CLIENTS = 5_000
#: Those that hold streams of django-eventstream, which takes its time to begin them.
STREAMS = 1_000
UNIT = "bytes/client"

#: Seconds in which a memory that does not change any more stays the same; longer where
#: clients are held, whom ours begins to watch after a second.
SETTLED, SETTLED_HELD = 0.3, 1.5


def measure(contender: Contender, start: Start, effort: Effort) -> Reading:
    with start() as server:
        clients = effort.few(STREAMS if contender.streams else CLIENTS)
        with hold(server, 50):
            pass  # What is made for the first clients only is nobody's.
        levels = [settle(server)]
        for _ in range(2):
            with hold(server, clients):
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
    """Return a server's memory once it does not change for some seconds."""
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
