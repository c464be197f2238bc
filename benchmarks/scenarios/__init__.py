"""The scenarios, each in a file."""

from __future__ import annotations

from .base import Scenario
from .churn import CHURN
from .fanout import FANOUT, REDIS_FANOUT, SPREAD, TUNING
from .grow import GROW
from .idle import IDLE, REDIS_IDLE
from .metrics import METRICS
from .publish import PUBLISH, REDIS_PUBLISH
from .script import REDIS_SCRIPT
from .several import SEVERAL
from .sockets import SOCKETS
from .streams import STREAMS

SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    "publish": (PUBLISH,),
    "fanout": FANOUT,
    "spread": (SPREAD,),
    "streams": (*STREAMS, SOCKETS, *SEVERAL),
    "idle": (IDLE,),
    "grow": GROW,
    "tuning": (TUNING,),
    "script": (REDIS_SCRIPT,),
    "redis": (REDIS_PUBLISH, REDIS_FANOUT, REDIS_IDLE),
    "metrics": METRICS,
    "churn": (CHURN,),
}
