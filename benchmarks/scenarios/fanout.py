"""Many clients on a channel: the next message is published when all have the last.

Each client polls again as soon as it was answered, so a delivery is a whole request.
"""

from __future__ import annotations

from functools import partial

from benchmarks import load
from benchmarks.processes import Server
from benchmarks.servers import Contender
from benchmarks.tuning import MEASURES

from .base import EVERYBODY, REDIS, WITHOUT_EVENTSTREAM, Effort, Reading, Scenario

UNIT = "deliveries/s"


def measure(
    contender: Contender,
    server: Server,
    effort: Effort,
    *,
    clients: int,
    channels: int = 1,
) -> Reading:
    mode = "sse" if contender.streams else "fanout"
    clients, channels = effort.few(clients), min(channels, effort.few(channels))
    # A message to thousands takes a second, and one is no measurement.
    seconds = effort.seconds * max(clients / 2_000, 1)
    report = load.run(server, mode, "-N", clients, "-M", channels, "-d", seconds)
    return Reading(
        report["deliveries_per_s"],
        report["client_cpu_pct"],
        {
            "server_cpu_pct": report["server_cpu_pct"],
            "p50_ms": report["p50_ms"],
            "p99_ms": report["p99_ms"],
            **{fault: report[fault] for fault in load.FAULTS},
        },
    )


THOUSAND = partial(measure, clients=1_000)

FANOUT = (
    Scenario("fanout 100", UNIT, partial(measure, clients=100), WITHOUT_EVENTSTREAM),
    Scenario("fanout 1,000", UNIT, THOUSAND, EVERYBODY),
    Scenario(
        "fanout 5,000", UNIT, partial(measure, clients=5_000), WITHOUT_EVENTSTREAM
    ),
)
#: A thousand channels, each with one client.
SPREAD = Scenario(
    "spread",
    UNIT,
    partial(measure, clients=1_000, channels=1_000),
    WITHOUT_EVENTSTREAM,
)
REDIS_FANOUT = Scenario(
    "redis fanout 1,000", UNIT, THOUSAND, (*REDIS, "uvicorn-redis-4")
)
TUNING = Scenario(
    "tuning",
    UNIT,
    THOUSAND,
    ("stock", *(f"stock+{name}" for name in MEASURES), "stock+all"),
)
