"""Ask all processes that share a store how they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

from pushserver.publishers import Update
from pushserver_channels.hub import hubs
from pushserver_channels.process_names import name_process
from pushserver_channels.stores import CommonStore, make_store

from .inquiries import CHANNEL, Inquiry, find_store
from .responder import Responder
from .summary import Summary

logger = logging.getLogger("pushserver.server")

#: The most seconds to wait for their answers.
PATIENCE = 0.5

#: Seconds between two looks for answers.
_INTERVAL = 0.01


class Processes(NamedTuple):
    """What the processes have answered.

    Attributes:
        answers: Their answers.
        late: The last answers of processes that may have not answered this time.
        silent: How many are connected and have not answered.
    """

    answers: list[Summary]
    late: list[Summary]
    silent: int

    def count_held(self) -> dict[str, int]:
        """Return how many subscribers the channels have that were told."""
        held: dict[str, int] = {}
        for summary in self.answers:
            for channel_id, count in summary.held.items():
                held[channel_id] = held.get(channel_id, 0) + count
        return held


async def ask_here(responder: Responder, store: str, inquiry: Inquiry) -> Processes:
    """Return the answers of this process, and of the others that share the store."""
    responder.start()  # If no event loop ran yet when the locations were routed.
    own = await responder.summarize([inquiry])
    if not isinstance(hubs.get(store).store, CommonStore):
        return Processes([own], [], 0)
    beside = hubs.get(store, settings=find_store(store)).store
    assert isinstance(beside, CommonStore), "It is of the same type."
    others = await _ask(beside, inquiry, name_process())
    return others._replace(answers=[own, *others.answers])


async def ask_from_outside(store: str, inquiry: Inquiry) -> Processes:
    """Return the answers of all processes, in one without a push server."""
    beside = make_store(find_store(store))
    assert isinstance(beside, CommonStore), "Others are not asked from outside."
    try:
        return await _ask(beside, inquiry, "")
    finally:
        await beside.aclose()


async def _ask(store: CommonStore, inquiry: Inquiry, own_name: str) -> Processes:
    """Publish an inquiry, and wait for the answers of other processes."""
    update = Update(CHANNEL, inquiry.dump())
    appended = await store.append(update, keep=False)
    expected = appended.info.subscribers
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        found = _read(await store.read_snapshots())
        others = [each for each in found if each.process != own_name]
        answers = [each for each in others if each.answered >= appended.message.id]
        if len(answers) >= expected or loop.time() > deadline:
            break
        await asyncio.sleep(_INTERVAL)
    answers.sort(key=lambda each: each.process)
    silent = max(expected - len(answers), 0)
    # Of those that have not answered, some may have ended since they last did.
    late = [each for each in others if each not in answers] if silent else []
    return Processes(answers, late, silent)


def _read(snapshots: Mapping[str, bytes]) -> list[Summary]:
    """Return the answers that can be read."""
    found = []
    for process, data in snapshots.items():
        try:
            found.append(Summary.load(data))
        except ValueError:
            text = "What %s tells dashboards cannot be read"
            logger.warning(text, process, extra={"reason": "invalid"})
    return found
