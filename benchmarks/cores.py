"""One core for the load, another one for the server."""

from __future__ import annotations

import os
from collections.abc import Callable

ALL = sorted(os.sched_getaffinity(0))

LOAD = {ALL[-1]}
#: One server process has one core; several have all that the load leaves.
SERVER = {ALL[0]}
SERVERS = set(ALL[:-1]) or SERVER


def pin_to(cores: set[int]) -> Callable[[], None]:
    """Return what a process calls first to stay on some cores."""
    return lambda: os.sched_setaffinity(0, cores)
