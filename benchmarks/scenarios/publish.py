"""Publishing as fast as possible, over eight connections, without subscribers."""

from __future__ import annotations

from benchmarks.load import Load
from benchmarks.processes import Server
from benchmarks.servers import Contender

from .base import EVERYBODY, REDIS, Effort, SideBySide

UNIT = "messages/s"


def connect(contender: Contender, server: Server, effort: Effort) -> Load:
    return Load(server, "publish")


PUBLISH = SideBySide(name="publish", unit=UNIT, servers=EVERYBODY, connect=connect)
REDIS_PUBLISH = SideBySide(
    name="redis publish", unit=UNIT, servers=REDIS, connect=connect, rounds=20
)
