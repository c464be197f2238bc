"""What presence costs: ``python -m benchmarks.presence``.

Two processes on one Valkey have members without connections, so that the costs are
those of presence alone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from tests.valkey import Valkey

PROCESSES = 2

#: Seconds for which the processes do nothing but say that they are alive.
IDLE = 20.0

#: The number of members and of channels.
LAYOUTS = ((10_000, 1), (50_000, 5_000))

#: The bytes of a page of memory.
PAGE = resource.getpagesize()


class Reading(NamedTuple):
    """What a process has used.

    Attributes:
        cpu: Seconds of its CPU time.
        memory: The bytes of its memory.
    """

    cpu: float
    memory: float

    def since(self, before: Reading) -> Reading:
        return Reading(self.cpu - before.cpu, self.memory - before.memory)


def read_self() -> Reading:
    with open("/proc/self/statm") as file:
        return Reading(time.process_time(), int(file.read().split()[1]) * PAGE)


def read_redis(valkey: Valkey) -> Reading:
    with valkey.client() as client:
        info: dict[str, Any] = client.info()
    cpu = info["used_cpu_user"] + info["used_cpu_sys"]
    return Reading(float(cpu), float(info["used_memory"]))


def run_process(
    pipe: Connection, url: str, users: range, channels: int, idle: float
) -> None:
    """Have members, and send what it costs to let them come, and to have them."""
    from django.conf import settings

    settings.configure(PUSH_SERVER={"store": {"type": "redis", "url": url}})
    asyncio.run(have_members(pipe, users, channels, idle))


async def have_members(
    pipe: Connection, users: range, channels: int, idle: float
) -> None:
    from pushserver_channels.presence import find_presence
    from pushserver_channels.presence.members import PresenceLimits

    loop = asyncio.get_running_loop()
    presence = find_presence("default").presence
    limits = PresenceLimits(15, 75, 0)
    await asyncio.sleep(1)  # Connect.
    pipe.send(None)
    await loop.run_in_executor(None, pipe.recv)
    before = read_self()
    for number, user in enumerate(users):
        info = {"name": f"A user with the number {user}"}
        channel_id = f"channel{user % channels}"
        presence.enter(channel_id, str(user), None, info, limits, is_hidden=False)
        if number % 100 == 0:
            await asyncio.sleep(0)
    while not presence.changes.are_told:
        await asyncio.sleep(0.01)
    pipe.send(read_self().since(before))
    await loop.run_in_executor(None, pipe.recv)
    before = read_self()
    await asyncio.sleep(idle)
    pipe.send(read_self().since(before))
    await loop.run_in_executor(None, pipe.recv)


def measure(members: int, channels: int, idle: float = IDLE) -> list[str]:
    """Return the costs of members, as text.

    Args:
        members: How many members there are.
        channels: How many channels they are on.
        idle: Seconds for which the processes do nothing but say that they are alive.
    """
    context = multiprocessing.get_context("spawn")
    share = members // PROCESSES
    with Valkey() as valkey:
        pipes, processes = [], []
        for number in range(PROCESSES):
            pipe, other = context.Pipe()
            users = range(number * share, (number + 1) * share)
            process = context.Process(
                target=run_process, args=(other, valkey.url, users, channels, idle)
            )
            process.start()
            pipes.append(pipe)
            processes.append(process)

        def let_all_go_on() -> list[Any]:
            for each in pipes:
                each.send(None)
            return [each.recv() for each in pipes]

        for each in pipes:
            each.recv()
        before = read_redis(valkey)
        joined = let_all_go_on()
        redis_joined = read_redis(valkey).since(before)
        before = read_redis(valkey)
        stayed = let_all_go_on()
        redis_idle = read_redis(valkey).since(before)
        for each in pipes:
            each.send(None)
        for process in processes:
            process.join()
    cpu = sum(each.cpu for each in joined) / members * 1000
    beats = max(each.cpu for each in stayed) / idle
    memory = sum(each.memory for each in joined) / members
    return [
        f"{cpu:.2f} ms",
        f"{redis_joined.cpu / members * 1000:.2f} ms",
        f"{beats:.1%} of a core",
        f"{redis_idle.cpu / idle:.1%} of a core",
        f"{memory / 1000:.1f} KB",
        f"{redis_joined.memory / members / 1000:.1f} KB",
    ]


NAMES = (
    "a member joins: CPU of a process",
    "a member joins: CPU of Redis",
    "to say that a process is alive",
    "the same, in Redis",
    "memory of a process, per member",
    "memory of Redis, per member",
)


def main() -> None:
    columns = [measure(*layout) for layout in LAYOUTS]
    heads = [f"{members:,} in {channels:,}" for members, channels in LAYOUTS]
    print("{:<34} {:<24} {}".format("", *heads))
    for row in zip(NAMES, *columns, strict=True):
        print("{:<34} {:<24} {}".format(*row))


if __name__ == "__main__":
    main()
