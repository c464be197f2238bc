"""WebSockets: a message is published when all sockets have the last one."""

from __future__ import annotations

from functools import partial

from .base import SideBySide
from .fanout import UNIT, connect

SOCKETS = SideBySide(
    name="sockets 1,000",
    unit=UNIT,
    servers=(
        *("daphne-bare-ws", "uvicorn-bare-ws"),
        *("daphne-ws", "runpushserver-ws", "uvicorn-ws", "nchan-ws"),
    ),
    connect=partial(connect, clients=1_000),
    rounds=20,
)
