"""What a metrics location costs: publishing and delivering with it, and without it."""

from __future__ import annotations

from .base import SideBySide
from .fanout import THOUSAND
from .fanout import UNIT as DELIVERIES
from .publish import UNIT as MESSAGES
from .publish import connect

SERVERS = ("daphne", "daphne-metrics", "uvicorn", "uvicorn-metrics")

METRICS = (
    SideBySide(
        name="metrics publish",
        unit=MESSAGES,
        servers=SERVERS,
        connect=connect,
        rounds=40,
    ),
    SideBySide(
        name="metrics fanout 1,000",
        unit=DELIVERIES,
        servers=SERVERS,
        connect=THOUSAND,
        rounds=40,
    ),
)
