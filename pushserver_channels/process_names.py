"""The names of processes, by which metrics and commands tell them apart."""

from __future__ import annotations

import os
import socket


def name_process() -> str:
    """Return the name of this process, the same as long as it lives."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_meant(name: str, process: str | None) -> bool:
    """Return whether a process is one of those that an order is for.

    Args:
        name: The name of the process.
        process: The name of a process or of a machine, None for all.
    """
    return process is None or process in (name, name.rpartition(":")[0])
