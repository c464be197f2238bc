"""Streams of eight channels, compared with a connection for each; polls beside streams.

The eight channels of a page all get messages. A page has one stream, or eight polls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.load import Load, hold
from benchmarks.processes import Server
from benchmarks.servers import Contender

from .base import Alone, Effort, SideBySide
from .fanout import UNIT
from .idle import UNIT as MEMORY_UNIT
from .idle import measure

PAGES = 100
CHANNELS = 8
POLLS = 1_000

SERVERS = ("daphne", "runpushserver", "uvicorn")


def connect_pages(contender: Contender, server: Server, effort: Effort) -> Load:
    pages = effort.few(PAGES)
    return Load(
        server,
        contender.mode,
        clients=pages * CHANNELS // contender.channels,
        channels=CHANNELS,
        group=contender.channels,
    )


@contextmanager
def connect_beside(
    contender: Contender, server: Server, effort: Effort
) -> Iterator[Load]:
    polls = Load(server, "fanout", clients=effort.few(POLLS))
    if not contender.streams_beside:
        with polls:
            yield polls
        return
    with hold(server, effort.few(contender.streams_beside), mode="sse"), polls:
        yield polls


SEVERAL = (
    Alone(
        name="several idle",
        unit=MEMORY_UNIT,
        turns=3,
        servers=tuple(
            name for each in SERVERS for name in (f"{each}-sse", f"{each}-sse-8")
        ),
        measure=measure,
        floors={f"{each}-sse-8": f"{each}-sse" for each in SERVERS},
    ),
    SideBySide(
        name="page of 8",
        unit=UNIT,
        servers=(*SERVERS, *(f"{each}-sse-8" for each in SERVERS)),
        connect=connect_pages,
        rounds=12,
    ),
    SideBySide(
        name="polls beside streams",
        unit=UNIT,
        servers=(*SERVERS, *(f"{each}-beside" for each in SERVERS)),
        connect=connect_beside,
        rounds=12,
    ),
)
