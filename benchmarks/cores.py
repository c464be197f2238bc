"""Assign one core to the load generator and another to the server."""

from __future__ import annotations

import os
from collections.abc import Callable

ALL = sorted(os.sched_getaffinity(0))

LOAD = {ALL[-1]}
#: One server process has one core; several have all except the load generator's.
SERVER = {ALL[0]}
SERVERS = set(ALL[:-1]) or SERVER


def pin_to(cores: set[int]) -> Callable[[], None]:
    """Return a function that a new process calls to run on some cores only."""
    return lambda: os.sched_setaffinity(0, cores)
