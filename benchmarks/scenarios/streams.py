"""Server-sent events: a message is published when all streams have the last one.

A delivery is one write into an open connection.
"""

from __future__ import annotations

from functools import partial

from .base import Alone, SideBySide
from .fanout import UNIT, connect
from .idle import UNIT as MEMORY_UNIT
from .idle import measure

OURS = ("daphne-sse", "runpushserver-sse", "uvicorn-sse")
BARE = ("daphne-bare-sse", "uvicorn-bare-sse")
EVENTSTREAM = {
    "eventstream-daphne": "daphne-bare-sse",
    "eventstream-uvicorn": "uvicorn-bare-sse",
}

STREAMS = (
    SideBySide(
        name="streams 1,000",
        unit=UNIT,
        servers=(*BARE, *OURS, *EVENTSTREAM, "uvicorn-redis-sse", "nchan-sse"),
        connect=partial(connect, clients=1_000),
        rounds=12,
        floors=EVENTSTREAM,
    ),
    SideBySide(
        name="streams 5,000",
        unit=UNIT,
        servers=(*BARE, *OURS, "nchan-sse"),
        connect=partial(connect, clients=5_000),
        rounds=6,
    ),
    Alone(
        name="streams idle",
        unit=MEMORY_UNIT,
        servers=(*BARE, *OURS, *EVENTSTREAM, "nchan-sse"),
        measure=measure,
        floors=EVENTSTREAM,
    ),
)
