"""Run a fault with a store."""

from __future__ import annotations

import asyncio
import resource

from tests import http

from .faults import Fault
from .traffic import Outcome, Traffic
from .worlds import World

#: The number of messages that each subscriber receives before and after a fault.
MESSAGES = 10


def run(fault: Fault, store: str) -> Outcome:
    """Return the outcome of a fault with a store, in a world of its own."""
    with World(store, **fault.world) as world:
        return run_in(world, fault)


def run_in(world: World, fault: Fault) -> Outcome:
    """Return the outcome of a fault in a world, in which others may have happened."""
    # A thousand clients need as many sockets.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        return asyncio.run(_run(fault, world))
    finally:
        for channel in world.channels:
            http.delete(f"{world.servers[0].url}/send-update/{channel}")


async def _run(fault: Fault, world: World) -> Outcome:
    ports = [server.port for server in world.servers]
    async with Traffic(ports, **fault.traffic) as traffic:
        world.count_attempts = traffic.count_attempts
        world.channels = [each.channel for each in traffic.publishers]
        await traffic.flow(MESSAGES)
        await asyncio.to_thread(fault.happen, world)
        traffic.end_fault()
        resumed = await traffic.resume()
        await traffic.flow(MESSAGES)
        await traffic.end()
        return traffic.outcome(resumed)
