"""The faults that are tested, and what each may cost."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .traffic import Outcome
from .worlds import World

ALL = ("redis", "channel_layer", "memory")
SHARED = ("redis", "channel_layer")


@dataclass(frozen=True)
class Fault:
    """An event that happens while publishers and subscribers are active.

    Attributes:
        name: The name on the command line.
        title: The name in the documentation.
        happen: Causes the fault, and returns when it is over.
        stores: The stores with which it can happen.
        world: Arguments for :class:`World`.
        traffic: Arguments for :class:`Traffic`.
        may_lose: Why a store in Redis may lose messages; empty if it may not.
            Subscribers are informed of the gap in any case.
        may_leave_open: Why a publisher may get no clear response.
        budget: Seconds within which delivery resumes after the fault.
    """

    name: str
    title: str
    happen: Callable[[World], None]
    stores: tuple[str, ...] = SHARED
    world: dict[str, Any] = field(default_factory=dict)
    traffic: dict[str, Any] = field(default_factory=dict)
    may_lose: str = ""
    may_leave_open: str = ""
    budget: float = 5.0

    @property
    def may_share(self) -> bool:
        """Whether it leaves the processes as if it had not happened."""
        return not self.world and not self.may_lose

    def complain(self, outcome: Outcome, store: str) -> list[str]:
        """Return the guarantees that a store has broken."""
        if store != "redis":
            # Other stores guarantee only the order.
            return ["reordered"] if outcome.reordered else []
        complaints = {
            "lost": outcome.lost and not self.may_lose,
            "lost in silence": outcome.lost > outcome.announced,
            "doubled": outcome.doubled,
            "reordered": outcome.reordered,
            "published, though refused": outcome.published,
            "without a clear answer": outcome.blunt and not self.may_leave_open,
        }
        return [each for each, is_so in complaints.items() if is_so]


def nothing(world: World) -> None:
    world.let_publish(20)


def with_some_behind(happen: Callable[[World], None]) -> Callable[[World], None]:
    """Return the fault with a delay in which absent subscribers miss messages."""

    def happen_then(world: World) -> None:
        world.let_publish(10)
        happen(world)

    return happen_then


def kill_server(world: World) -> None:
    world.servers[0].stop(signal.SIGKILL)
    world.servers[0].start()


def stop_server(world: World) -> None:
    world.servers[0].stop(signal.SIGTERM)
    world.servers[0].start()


def restart_servers(world: World) -> None:
    for server in world.servers:
        server.stop(signal.SIGTERM)
        server.start()


def die_after_half_a_body(world: World) -> None:
    for server in world.servers:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(
                b"POST /send-update/channel-0 HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: 100\r\n\r\nchannel-0 1000000"
            )


def kill_redis(world: World) -> None:
    world.valkey.stop(signal.SIGKILL)
    world.valkey.start()


def kill_redis_after_snapshot(world: World) -> None:
    world.valkey.run("SAVE")
    world.let_publish(10)
    kill_redis(world)


def kill_master(world: World) -> None:
    master = world.cluster.masters[0] if world.servers_of == "cluster" else world.valkey
    master.stop(signal.SIGKILL)


# These times are part of the faults: for so long Redis is unreachable.


def stop_redis(seconds: float) -> Callable[[World], None]:
    def happen(world: World) -> None:
        world.valkey.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        world.valkey.process.send_signal(signal.SIGCONT)

    return happen


def kill_connections(world: World) -> None:
    for _ in range(5):
        for kind in ("normal", "pubsub"):
            world.valkey.run("CLIENT", "KILL", "TYPE", kind)
        world.let_publish(5)


def empty_redis(world: World) -> None:
    world.valkey.run("FLUSHALL")


def fill_redis(world: World) -> None:
    world.valkey.run("CONFIG", "SET", "maxmemory", 1)
    world.let_publish(10)
    world.valkey.run("CONFIG", "SET", "maxmemory", 0)


def cut_network(world: World) -> None:
    world.proxy.cut()
    time.sleep(2)
    world.proxy.mend()


def freeze_network(world: World) -> None:
    world.proxy.freeze()
    time.sleep(15)
    world.proxy.mend()


def set_clock(step: float) -> Callable[[World], None]:
    def happen(world: World) -> None:
        world.set_clock(step)
        world.let_publish(20)

    return happen


FAULTS = (
    Fault(
        "nothing",
        "Nothing but that each poll of a subscriber goes to another process",
        nothing,
        ALL,
    ),
    Fault(
        "kill-server",
        "Daphne is killed (``kill -9``) and started again",
        with_some_behind(kill_server),
        ALL,
        may_leave_open="The process that was to answer is gone.",
    ),
    Fault(
        "stop-server",
        "Daphne is stopped (SIGTERM) and started again",
        with_some_behind(stop_server),
        ALL,
        may_leave_open="It does not listen any more.",
    ),
    Fault(
        "rolling-restart",
        "All Daphne processes are restarted, one after the other",
        with_some_behind(restart_servers),
        ALL,
        may_leave_open="One of them does not listen any more.",
    ),
    Fault(
        "half-a-body",
        "A publisher dies after it has sent half a body",
        die_after_half_a_body,
        ALL,
    ),
    Fault(
        "kill-redis",
        "Redis is killed and started again, and has its data (``appendfsync always``)",
        with_some_behind(kill_redis),
        world={"persistent": True},
    ),
    Fault(
        "old-data",
        "Redis is killed and started again with an older snapshot",
        kill_redis_after_snapshot,
        may_lose="What came after the snapshot is gone.",
    ),
    Fault(
        "kill-empty-redis",
        "Redis is killed and started again, without its data",
        with_some_behind(kill_redis),
        may_lose="What Redis kept is gone.",
    ),
    Fault(
        "empty-redis",
        "``FLUSHALL``",
        with_some_behind(empty_redis),
        may_lose="What Redis kept is gone.",
    ),
    Fault(
        "fill-redis", "Redis is out of memory for a while (``noeviction``)", fill_redis
    ),
    Fault("kill-connections", "``CLIENT KILL`` of all clients", kill_connections),
    Fault(
        "stop-redis",
        "Redis stands still for 25 seconds",
        stop_redis(25),
    ),
    Fault(
        "cut",
        "The network to Redis is cut for 2 seconds",
        cut_network,
        world={"cuttable": True},
    ),
    Fault(
        "freeze",
        "The network to Redis passes nothing on for 15 seconds (half open)",
        freeze_network,
        world={"cuttable": True},
    ),
    Fault(
        "sentinel",
        "The master dies, and Sentinel promotes a replica",
        kill_master,
        ("redis",),
        world={"servers_of": "sentinel"},
        budget=15.0,
        may_lose="What the replica had not yet got is gone.",
    ),
    Fault(
        "cluster",
        "A master of a cluster dies, and its replica takes over",
        kill_master,
        ("redis",),
        world={"servers_of": "cluster"},
        budget=15.0,
        traffic={"channels": 6},
        may_lose="What the replica had not yet got is gone.",
    ),
    Fault(
        "clock-ahead",
        "The clock is set an hour ahead",
        set_clock(3600),
        ("redis", "memory"),
        world={"clock": True},
    ),
    Fault(
        "clock-back",
        "The clock is set an hour back",
        set_clock(-3600),
        ("redis", "memory"),
        world={"clock": True},
    ),
    Fault(
        "thousand",
        "1,000 clients come back at once: Daphne is killed that holds half of them",
        kill_server,
        ALL,
        traffic={
            "channels": 1,
            "subscribers": 1000,
            "pause": 2.0,
            "retry": 1.0,
            "nap": 0,
        },
        may_leave_open="The process that was to answer is gone.",
    ),
)
