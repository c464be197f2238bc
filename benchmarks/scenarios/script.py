"""Publishing from a process without a push server, straight into Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import cores
from benchmarks.load import Slice
from benchmarks.processes import ROOT
from benchmarks.servers import Contender
from benchmarks.slices import find_median_rate

from .base import Effort, Guard, Reading, Scenario


@dataclass(frozen=True, kw_only=True)
class Script(Scenario):
    """A script beside redis-py alone, both in one process on one Redis.

    Attributes:
        rounds: How many slices each has in a turn.
    """

    rounds: int = 20

    def take_turn(
        self, contenders: Sequence[Contender], effort: Effort, guard: Guard
    ) -> dict[str, Reading]:
        from tests.valkey import Valkey

        with Valkey() as valkey:
            os.sched_setaffinity(valkey.process.pid, cores.LOAD)
            rounds = str(min(self.rounds, effort.rounds))
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.script", rounds],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings",
                    "BENCHMARK_REDIS": valkey.url,
                },
                stdout=subprocess.PIPE,
                preexec_fn=lambda: os.sched_setaffinity(0, cores.SERVER),
                check=True,
            )
        readings = {}
        told = json.loads(done.stdout)
        for contender in contenders:
            slices = [
                Slice(count, seconds, 0.0, 0.0, 0)
                for count, seconds in (each[contender.name] for each in told)
            ]
            rate = find_median_rate(slices)
            readings[contender.name] = Reading(rate, slices=slices)
        return readings


REDIS_SCRIPT = Script(
    name="redis script", unit="messages/s", servers=("script-bare", "script")
)
