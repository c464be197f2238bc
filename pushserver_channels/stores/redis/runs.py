"""Which run of Redis a connection leads to."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import ConnectionLost


def read_run_id(info: bytes, *, durable: bool) -> str:
    """Return the run of Redis from its answer to ``INFO server persistence``.

    It is ``-`` if a restart loses nothing, or if Redis does not report the run.

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
