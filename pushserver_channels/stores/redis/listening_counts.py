"""Count the processes that listen to channels."""

from __future__ import annotations

from collections.abc import Sequence

from pushserver_channels.exceptions import StoreUnavailable

from .commands import Commands
from .connection import Connection
from .errors import CommandError


async def count_listening(
    commands: Commands, channel_ids: Sequence[str]
) -> dict[str, int]:
    """Return how many processes listen to each channel.

    Args:
        commands: The commands of a store.
        channel_ids: The channels.

    Raises :class:`StoreUnavailable`.
    """
    servers: dict[Connection, list[str]] = {}
    for each in channel_ids:
        connection = await commands.network.connect(commands.find(each).shard)
        servers.setdefault(connection, []).append(each)
    kind = "SHARDNUMSUB" if commands.subscribe == "SSUBSCRIBE" else "NUMSUB"
    found: dict[str, int] = {}
    for connection, ids in servers.items():
        topics = [commands.find(each).topic for each in ids]
        try:
            answer = await connection.send("PUBSUB", kind, *topics)
        except CommandError as error:
            raise StoreUnavailable from error
        # A topic and its number in turn, or a map of them.
        counts = answer.values() if isinstance(answer, dict) else answer[1::2]
        found.update(zip(ids, map(int, counts), strict=True))
    return found
