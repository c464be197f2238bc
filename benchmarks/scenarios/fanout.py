"""Many subscribers on a channel: a message is published when all have the last one.

Each client polls again as soon as it was answered, so a delivery is a whole request.
"""

from __future__ import annotations

from functools import partial

from benchmarks.load import Load
from benchmarks.processes import Server
from benchmarks.servers import Contender
from benchmarks.tuning import MEASURES

from .base import EVERYBODY, REDIS, WITHOUT_EVENTSTREAM, Effort, SideBySide

UNIT = "deliveries/s"

#: With a channel for each client, the number of channels that get a message at a time.
WINDOW = 100


def connect(
    contender: Contender, server: Server, effort: Effort, *, clients: int
) -> Load:
    return Load(server, contender.mode, clients=effort.few(clients))


def connect_spread(contender: Contender, server: Server, effort: Effort) -> Load:
    clients = effort.few(1_000)
    return Load(server, "fanout", clients=clients, channels=clients, window=WINDOW)


THOUSAND = partial(connect, clients=1_000)

FANOUT = (
    SideBySide(
        name="fanout 100",
        unit=UNIT,
        servers=WITHOUT_EVENTSTREAM,
        connect=partial(connect, clients=100),
    ),
    SideBySide(
        name="fanout 1,000", unit=UNIT, servers=EVERYBODY, connect=THOUSAND, rounds=20
    ),
    SideBySide(
        name="fanout 5,000",
        unit=UNIT,
        servers=WITHOUT_EVENTSTREAM,
        connect=partial(connect, clients=5_000),
        rounds=6,
    ),
)
#: A thousand channels, each with one client.
SPREAD = SideBySide(
    name="spread", unit=UNIT, servers=WITHOUT_EVENTSTREAM, connect=connect_spread
)
REDIS_FANOUT = SideBySide(
    name="redis fanout 1,000",
    unit=UNIT,
    servers=(*REDIS, "uvicorn-redis-4"),
    connect=THOUSAND,
    rounds=12,
)
TUNING = SideBySide(
    name="tuning",
    unit=UNIT,
    servers=("stock", *(f"stock+{name}" for name in MEASURES), "stock+all"),
    connect=THOUSAND,
    rounds=8,
)
