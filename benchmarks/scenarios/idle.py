"""Waiting costs memory: bytes for each held client, and what stays when they left.

The clients come twice. What the first wave leaves behind is Python's own memory, kept
for the next one; if the second wave leaves more, something is never given back.
"""

from __future__ import annotations

import time

from benchmarks import load
from benchmarks.processes import Server
from benchmarks.servers import Contender

from .base import EVERYBODY, REDIS, Effort, Reading, Scenario

CLIENTS = 5_000
UNIT = "bytes/client"


def measure(contender: Contender, server: Server, effort: Effort) -> Reading:
    clients = effort.few(CLIENTS)
    with load.held(server, 50):
        pass  # What is made for the first clients only is nobody's.
    levels = [settle(server, effort)]
    for _ in range(2):
        with load.held(server, clients):
            levels.append(settle(server, effort))
        levels.append(settle(server, effort))
    start, held, left, held_again, left_again = levels
    return Reading(
        (held - start) / clients,
        more={
            "left": (left - start) / clients,
            "held_again": (held_again - start) / clients,
            "left_again": (left_again - start) / clients,
        },
    )


def settle(server: Server, effort: Effort) -> int:
    """Return a server's memory once it does not change any more."""
    memory, since = server.memory, time.monotonic()
    while time.monotonic() - since < effort.seconds / 2:
        time.sleep(0.05)
        now = server.memory
        if abs(now - memory) > 65_536:
            memory, since = now, time.monotonic()
    return memory


IDLE = Scenario("idle", UNIT, measure, EVERYBODY, turns=3)
REDIS_IDLE = Scenario("redis idle", UNIT, measure, REDIS, turns=3)
