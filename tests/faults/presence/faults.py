"""The faults that are tested with members on a channel, and what each may cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.faults import (
    kill_redis,
    kill_server,
    restart_servers,
    stop_redis,
    stop_server,
)

from .crowds import Crowd
from .outcomes import Outcome
from .worlds import PresenceWorld

ALL = ("redis", "memory")

#: The most messages of a channel in a second. There is at most one, but two may come
#: within a second if the first was late.
BUSIEST = 2

#: Seconds for which Redis is cut off, and for which a clock is wrong.
CUT = 25.0
WRONG = 5.0


@dataclass(frozen=True)
class PresenceFault:
    """An event that happens while members are on a channel.

    Attributes:
        name: The name on the command line.
        title: The name in the documentation.
        happen: Causes the fault, and returns when it is over.
        stores: The stores with which it can happen.
        members: How many members there are.
        moves: Whether some members leave, and others come, during the fault.
        is_silent: Whether the channel may tell nothing.
        world: Arguments for :class:`PresenceWorld`.
        may_flicker: Why members may be told to leave and to come again, with each
            store. If the store forgets them, signals may be sent again, or be missing.
    """

    name: str
    title: str
    happen: Callable[[PresenceWorld, Crowd], Awaitable[None]]
    stores: tuple[str, ...] = ALL
    members: int = 40
    moves: bool = True
    is_silent: bool = False
    world: dict[str, Any] = field(default_factory=dict)
    may_flicker: dict[str, str] = field(default_factory=dict)

    def complain(self, outcome: Outcome, store: str) -> list[str]:
        """Return the guarantees that a store has broken."""
        may_flicker = store in self.may_flicker
        forgets = may_flicker and store == "memory"
        complaints = {
            "ghosts": outcome.ghosts,
            "forgotten": outcome.forgotten,
            "told again": outcome.repeated,
            "flickered": outcome.flickered and not may_flicker,
            "too many messages": outcome.busiest > BUSIEST,
            "not silent": self.is_silent and outcome.told,
            "signals doubled": outcome.doubled and not forgets,
            "signals missed": outcome.missed > outcome.counted and not forgets,
        }
        return [each for each, is_so in complaints.items() if is_so]


def in_thread(
    happen: Callable[[PresenceWorld], None],
) -> Callable[[PresenceWorld, Crowd], Awaitable[None]]:
    """Return the fault of a function that blocks."""

    async def happen_in_thread(world: PresenceWorld, crowd: Crowd) -> None:
        await asyncio.to_thread(happen, world)

    return happen_in_thread


def empty_redis(world: PresenceWorld) -> None:
    world.valkey.run("FLUSHALL")


def cut_network(world: PresenceWorld) -> None:
    world.proxy.cut()
    time.sleep(CUT)
    world.proxy.mend()


def set_clock(step: float) -> Callable[[PresenceWorld], None]:
    def happen(world: PresenceWorld) -> None:
        world.set_clock(step)
        time.sleep(WRONG)

    return happen


async def go_and_return(world: PresenceWorld, crowd: Crowd) -> None:
    """Let all members leave at once, and come back when nobody is there any more."""
    members = [*crowd.staying, *crowd.leaving]
    crowd.leave(members)
    await crowd.settle()
    for watcher in crowd.watchers:
        assert not watcher.members, "Ghosts are there when everybody has gone."
    crowd.come(members)


async def reconnect(world: PresenceWorld, crowd: Crowd) -> None:
    """Let all members lose their connections at once, and come back at once."""
    for each in crowd.staying:
        each.reconnect()


_MEMORY_ENDS = {"memory": "The store ends with the process."}

PRESENCE_FAULTS = (
    PresenceFault(
        "presence-kill-server",
        "Daphne is killed (``kill -9``) and started again",
        in_thread(kill_server),
        may_flicker=_MEMORY_ENDS,
    ),
    PresenceFault(
        "presence-stop-server",
        "Daphne is stopped (SIGTERM) and started again",
        in_thread(stop_server),
        may_flicker=_MEMORY_ENDS,
    ),
    PresenceFault(
        "presence-rolling-restart",
        "All of three Daphne processes are restarted, one after the other, with 1,000"
        " members",
        in_thread(restart_servers),
        ("redis",),
        members=1000,
        moves=False,
        is_silent=True,
        world={"servers": 3},
    ),
    PresenceFault(
        "presence-kill-redis",
        "Redis is killed and started again, and has its data (``appendfsync always``)",
        in_thread(kill_redis),
        ("redis",),
        world={"persistent": True},
    ),
    PresenceFault(
        "presence-kill-empty-redis",
        "Redis is killed and started again, without its data",
        in_thread(kill_redis),
        ("redis",),
    ),
    PresenceFault(
        "presence-empty-redis", "``FLUSHALL``", in_thread(empty_redis), ("redis",)
    ),
    PresenceFault(
        "presence-cut",
        "The network to Redis is cut for 25 seconds",
        in_thread(cut_network),
        ("redis",),
        world={"cuttable": True},
    ),
    PresenceFault(
        "presence-stop-redis",
        "Redis stands still for 25 seconds",
        in_thread(stop_redis(CUT)),
        ("redis",),
    ),
    PresenceFault(
        "presence-cut-one",
        "The network to Redis is cut for 25 seconds, for one process alone",
        in_thread(cut_network),
        ("redis",),
        world={"cuts_one": True},
        may_flicker={"redis": "The other process has to take it for killed."},
    ),
    PresenceFault(
        "presence-clock-ahead",
        "The clock is set an hour ahead",
        in_thread(set_clock(3600)),
        world={"clock": True},
    ),
    PresenceFault(
        "presence-clock-back",
        "The clock is set an hour back",
        in_thread(set_clock(-3600)),
        world={"clock": True},
    ),
    PresenceFault(
        "presence-all-gone",
        "All of 1,000 members leave at once, and are back at once when they have left",
        go_and_return,
        members=1000,
        moves=False,
    ),
    PresenceFault(
        "presence-all-back",
        "All of 1,000 members lose their connections at once, and are back at once",
        reconnect,
        members=1000,
        moves=False,
        is_silent=True,
    ),
)
