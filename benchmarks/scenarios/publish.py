"""Publishing as fast as it goes: eight connections, and nobody waits."""

from __future__ import annotations

from benchmarks import load
from benchmarks.processes import Server
from benchmarks.servers import Contender

from .base import EVERYBODY, REDIS, Effort, Reading, Scenario


def measure(contender: Contender, server: Server, effort: Effort) -> Reading:
    load.run(server, "publish", "-k", 10, "-d", 10)  # The first connects to the store.
    report = load.run(server, "publish", "-P", 8, "-d", effort.seconds)
    return Reading(
        report["req_per_s"],
        report["client_cpu_pct"],
        {"server_cpu_pct": report["server_cpu_pct"]},
    )


PUBLISH = Scenario("publish", "messages/s", measure, EVERYBODY)
REDIS_PUBLISH = Scenario("redis publish", "messages/s", measure, REDIS)
