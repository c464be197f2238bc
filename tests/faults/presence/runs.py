"""Run a fault with members on a channel."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from .crowds import Crowd
from .faults import PresenceFault
from .outcomes import Outcome
from .worlds import PresenceWorld

#: Seconds after the start of a fault until members leave and others come.
DURING = 0.5


def run(fault: PresenceFault, store: str, **world: Any) -> Outcome:
    """Return the outcome of a fault with a store, in a world of its own.

    Args:
        fault: The fault.
        store: The kind of the store.
        world: Arguments for :class:`PresenceWorld`, besides those of the fault.
    """
    # A thousand clients need as many sockets.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with PresenceWorld(store, **fault.world, **world) as servers:
        return asyncio.run(_run(fault, servers))


async def _run(fault: PresenceFault, world: PresenceWorld) -> Outcome:
    async with Crowd(world, fault.members) as crowd:
        crowd.begin_fault()
        happening = asyncio.ensure_future(fault.happen(world, crowd))
        if fault.moves:
            await asyncio.sleep(DURING)
            crowd.leave(crowd.leaving)
            crowd.come(crowd.coming)
        await happening
        return await crowd.measure()
