"""Look up host names within a time limit, which the system's resolver lacks."""

from __future__ import annotations

import os
import socket
import threading
from ipaddress import ip_address
from typing import Any

from .deadline import Deadline

#: What ``socket.getaddrinfo()`` returns.
Addresses = list[tuple[Any, ...]]


class _Lookup:
    """The lookup of a host name, and its result when it is done."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.done = threading.Event()
        self.addresses: Addresses = []
        self.error = ""

    def run(self) -> None:
        """Ask the resolver, without a time limit."""
        try:
            self.addresses = list(
                socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            )
        except Exception as error:  # Also a UnicodeError: not every string is a name.
            self.error = str(error) or type(error).__name__
        finally:
            _lookups.pop((self.host, self.port), None)
            self.done.set()


# The running lookups. All callers for one host share a lookup, so that a resolver that
# does not answer blocks one thread per host.
_lookups: dict[tuple[str, int], _Lookup] = {}
_lock = threading.Lock()


def resolve(host: str, port: int, deadline: Deadline) -> Addresses:
    """Return the addresses of a host, as ``socket.getaddrinfo()`` does.

    Raises ``OSError`` if it has none, and ``TimeoutError`` at the deadline.
    """
    lookup = None if _is_address(host) else _start_lookup(host, port)
    if lookup is None:
        lookup = _Lookup(host, port)
        lookup.run()
    elif not lookup.done.wait(deadline.left()):
        raise TimeoutError(f"The name {host} was not resolved in time.")
    if lookup.error or not lookup.addresses:
        raise OSError(lookup.error or f"The name {host} has no address.")
    return lookup.addresses


def _start_lookup(host: str, port: int) -> _Lookup | None:
    """Return a lookup that runs in a thread, None if no thread can be started."""
    with _lock:
        lookup = _lookups.get((host, port))
        if lookup is None:
            lookup = _lookups[host, port] = _Lookup(host, port)
            try:
                threading.Thread(target=lookup.run, daemon=True).start()
            except RuntimeError:  # For example because the process is exiting.
                del _lookups[host, port]
                return None
    return lookup


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _forget() -> None:
    """Forget the lookups of the parent process, whose threads the child lacks."""
    global _lock
    _lock = threading.Lock()
    _lookups.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork().
    os.register_at_fork(after_in_child=_forget)
