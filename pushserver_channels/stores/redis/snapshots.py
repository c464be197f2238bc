"""The metrics of processes, in Redis.

Each process writes its own under a key that expires. A hash has the names of the
processes, because keys cannot be searched for in a cluster.
"""

from __future__ import annotations

import asyncio

from pushserver_channels.exceptions import StoreUnavailable

from .channels import Shard
from .errors import CommandError
from .network import Network

#: Seconds after which the names of processes are forgotten if none of them writes.
NAMES_EXPIRE = 3600


async def write_snapshot(
    network: Network, process: str, data: bytes, seconds: int
) -> None:
    """Write the metrics of a process. Raises :class:`StoreUnavailable`.

    Args:
        network: The connections.
        process: The name of the process.
        data: Its metrics.
        seconds: After how many seconds they expire.
    """
    shard = network.shards[0]
    connection = await network.connect(shard)
    names = _names(shard)
    try:
        await asyncio.gather(
            connection.send("SET", f"{names}:{process}", data, "EX", seconds),
            connection.send("HSET", names, process, ""),
            connection.send("EXPIRE", names, NAMES_EXPIRE),
        )
    except CommandError as error:
        raise StoreUnavailable from error


async def read_snapshots(network: Network) -> dict[str, bytes]:
    """Return the metrics of all processes, by name. Raises :class:`StoreUnavailable`.

    Args:
        network: The connections.
    """
    shard = network.shards[0]
    connection = await network.connect(shard)
    names = _names(shard)
    try:
        processes: list[bytes] = await connection.send("HKEYS", names)
        if not processes:
            return {}
        keys = (f"{names}:{each.decode()}" for each in processes)
        found: list[bytes | None] = await connection.send("MGET", *keys)
        ended = [
            name for name, data in zip(processes, found, strict=True) if data is None
        ]
        if ended:
            await connection.send("HDEL", names, *ended)
    except CommandError as error:
        raise StoreUnavailable from error
    return {
        name.decode(): data
        for name, data in zip(processes, found, strict=True)
        if data is not None
    }


def _names(shard: Shard) -> str:
    """Return the key of the names, with which the other keys begin."""
    return f"{shard.prefix}:metrics"
