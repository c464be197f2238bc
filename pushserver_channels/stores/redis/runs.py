"""Find out which run of the Redis process answers on a connection.

A run is the time from the start of the process to its end.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import ConnectionLost


def read_run_id(info: bytes, *, durable: bool) -> str:
    """Return the ``run_id`` in the answer of Redis to ``INFO server persistence``.

    Return ``-`` if a restart loses nothing, or if Redis does not report it.

    Args:
        info: The answer.
        durable: Whether a server with an append-only file loses nothing.

    Raises :class:`ConnectionLost` while Redis loads its data. Until then it runs no
    script, and always reports that it has no append-only file.
    """
    lines = info.decode("utf-8", "replace").split("\r\n")
    fields: Mapping[str, str] = dict(line.partition(":")[::2] for line in lines)
    if fields.get("loading", "0") != "0":
        raise ConnectionLost("Redis is loading its data.")
    if durable and fields.get("aof_enabled") == "1":
        return "-"
    return fields.get("run_id") or "-"
