"""Detect several processes that serve one address without sharing their messages.

``uvicorn --workers 4``, for example, starts processes that accept connections at one
address. If each keeps its messages in memory, a message published in one process does
not reach the subscribers of the others, and no request fails. So each process claims
the addresses at which it listens: it takes a name that the operating system gives to
one process at a time. A process that finds its address claimed, and finds it claimed
again some seconds later, logs an error.

Processes at different addresses (a port each, behind a proxy) are not detected, because
they may be different sites.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
import tempfile
from contextlib import suppress

from django.utils.crypto import salted_hmac

from pushserver.conf import get_settings

from .listeners import find_listeners

try:
    import fcntl
except ImportError:  # On Windows, which has no /dev/fd either.
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("pushserver.server")

#: Seconds from the start of a server until it listens.
START_DELAY = 1.0

#: Seconds for which an old process may run beside the new one that replaces it. granian
#: stops the old process 3.5 seconds after it has started the new one.
GRACE_PERIOD = 5.0


class AddressClaims:
    """The claims of this process on the addresses at which it listens."""

    def __init__(self) -> None:
        self._claims: dict[str, int] = {}  # Names, each with an open file descriptor.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, *, starting: bool = False) -> None:
        """Check, on the running event loop, whether this process serves alone.

        Args:
            starting: Whether the server is not listening yet.
        """
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        self.release()
        self._loop = loop
        if starting:
            self._timer = loop.call_later(START_DELAY, self._check)
        else:
            self._check()

    def release(self) -> None:
        """Give up all claims, because this process stops serving."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for descriptor in self._claims.values():
            with suppress(OSError):
                os.close(descriptor)
        self._claims = {}

    def reset_in_child(self) -> None:
        """Forget the parent's claims in a forked child, which serves nothing."""
        self._timer = None  # It belongs to the parent's event loop.
        self._loop = None
        self.release()

    def _check(self) -> None:
        self._timer = None
        if self._claim_addresses() and self._loop is not None:
            self._timer = self._loop.call_later(GRACE_PERIOD, self._check_again)

    def _check_again(self) -> None:
        self._timer = None
        others = self._claim_addresses()
        # One process logs the error for all of them.
        if others and self._claim(f"{others[0]} logged"):
            logger.error(
                "Several processes serve at %s, and each keeps the messages of %s in"
                " its own memory: a message published in one process does not reach the"
                " subscribers of another. Start one process (--workers 1), or share the"
                " messages: give PUSH_SERVER['store'] the type 'redis'.",
                others[0],
                " and ".join(f"the store {name!r}" for name in _unshared_stores()),
                extra={"reason": "conflict"},
            )

    def _claim_addresses(self) -> list[str]:
        """Claim this process's addresses; return those that another has claimed."""
        if not _unshared_stores():
            return []
        return [address for _, address in find_listeners() if not self._claim(address)]

    def _claim(self, name: str) -> bool:
        """Take a name; return False if another process has it."""
        if name not in self._claims:
            # Hashed with SECRET_KEY, so that names differ between sites and cannot be
            # guessed.
            mark = salted_hmac(__name__, name, algorithm="sha256").hexdigest()[:40]
            try:
                self._claims[name] = _acquire(f"pushserver-{mark}")
            except (BlockingIOError, FileExistsError):
                return False
            except OSError:  # Without such names nothing can be detected.
                logger.debug("Cannot claim %s", name, exc_info=True)
        return True


def _unshared_stores() -> list[str]:
    """Return the names of the used stores that keep messages in this process."""
    settings = get_settings()
    used = settings.used_stores
    return [
        name
        for name, store in settings.store.items()
        if name in used and not store.shared
    ]


def _acquire(name: str) -> int:
    """Take a name, and return the file descriptor that holds it while it is open.

    Raises ``BlockingIOError`` or ``FileExistsError`` if another process has the name,
    and another ``OSError`` if this system has no such names.
    """
    if sys.platform == "linux":
        return _bind_name(name)
    return _lock_file(name)


def _bind_name(name: str) -> int:
    """Take a name in the abstract socket namespace.

    These names belong to a network namespace, so containers that share a directory for
    temporary files do not collide.
    """
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(f"\0{name}")
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            raise FileExistsError(name) from error
        raise
    return holder.detach()


def _lock_file(name: str) -> int:
    """Lock a file in the directory for temporary files."""
    if fcntl is None:
        raise OSError("This system has no file locks of that kind.")
    path = os.path.join(tempfile.gettempdir(), f"{name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
