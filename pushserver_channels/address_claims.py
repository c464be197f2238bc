"""Noticing that several processes serve one site, where each has a memory of its own.

``uvicorn --workers 4`` and its like start processes that accept connections at one
address. With a store in the memory of each, a message that is published at one reaches
nobody at the others, and no request fails. So each process claims the addresses at
which it listens, by names of which the operating system gives each to one process, as
long as it runs. A process that finds its address claimed, and some seconds later still,
is one too many.

Processes at several addresses (a port each, behind a proxy) are not noticed: they may
as well be sites of their own.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from django.utils.crypto import salted_hmac

from pushserver.conf import get_settings

try:
    import fcntl
except ImportError:  # Windows has none, and no /dev/fd.
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

#: Seconds from the start of a server until it listens.
START_DELAY = 1.0

#: Seconds for which an old process may serve beside the new one that takes its place:
#: granian stops the old one 3.5 seconds after it has started the new one.
GRACE_PERIOD = 5.0


class AddressClaims:
    """The claims of this process on the addresses at which it listens."""

    def __init__(self) -> None:
        self._claims: dict[str, int] = {}  # Each name with a file descriptor.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, *, starting: bool = False) -> None:
        """Look, from the running event loop, whether this process serves alone.

        Args:
            starting: Whether the server does not listen yet.
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
        """Give up all claims, because this process serves no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for descriptor in self._claims.values():
            with suppress(OSError):
                os.close(descriptor)
        self._claims = {}

    def reset_in_child(self) -> None:
        """Hear that this is a child process, which serves nothing."""
        self._timer = None  # The loop is the parent's.
        self._loop = None
        self.release()

    def _check(self) -> None:
        self._timer = None
        if self._claim_addresses() and self._loop is not None:
            self._timer = self._loop.call_later(GRACE_PERIOD, self._check_again)

    def _check_again(self) -> None:
        self._timer = None
        others = self._claim_addresses()
        # The first of those that are too many tells it for all.
        if others and self._claim(f"{others[0]} told"):
            logger.error(
                "Several processes serve at %s, and each keeps the messages of %s in"
                " its own memory: what is published at one does not reach who waits at"
                " another. Start one process (--workers 1), or share the messages: give"
                " PUSH_SERVER['store'] the type 'redis'.",
                others[0],
                " and ".join(f"the store {name!r}" for name in _unshared_stores()),
            )

    def _claim_addresses(self) -> list[str]:
        """Claim where this process listens; return where another one has."""
        if not _unshared_stores():
            return []
        return [
            address for address in _listening_addresses() if not self._claim(address)
        ]

    def _claim(self, name: str) -> bool:
        """Return whether this process has a name, by now; False if another has it."""
        if name not in self._claims:
            # Nobody else knows the names, and another site has others.
            mark = salted_hmac(__name__, name, algorithm="sha256").hexdigest()[:40]
            try:
                self._claims[name] = _acquire(f"pushserver-{mark}")
            except (BlockingIOError, FileExistsError):
                return False
            except OSError:  # Where there are no such names, nothing can be told.
                logger.debug("Cannot claim %s", name, exc_info=True)
        return True


def _unshared_stores() -> list[str]:
    """Return the names of the stores in use that are in this process's memory."""
    settings = get_settings()
    used = {location.store for location in settings.locations}
    return [
        name
        for name, store in settings.store.items()
        if name in used and not store.shared
    ]


def _listening_addresses() -> Iterator[str]:
    """Yield the addresses at which this process listens."""
    try:
        descriptors = os.listdir("/dev/fd")
    except OSError:
        return
    for each in descriptors:
        with suppress(OSError):
            address = _read_address(int(each))
            if address is not None:
                yield address


def _read_address(descriptor: int) -> str | None:
    """Return where a descriptor listens, None if it does not."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return None
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        if not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        name = copy.getsockname()
    if isinstance(name, tuple):
        host, port, *_ = name
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(name) or None


def _acquire(name: str) -> int:
    """Take a name as long as a file descriptor is open, and return that.

    Raises ``BlockingIOError`` or ``FileExistsError`` if another process has the name,
    and ``OSError`` if nobody can.
    """
    if sys.platform == "linux":
        return _bind_name(name)
    return _lock_file(name)


def _bind_name(name: str) -> int:
    """Take the name of a socket that is in no directory.

    Containers that share a directory for temporary files have networks of their own,
    and these names belong to a network.
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
    """Lock a file, in the directory for temporary ones."""
    if fcntl is None:
        raise OSError("This system has no locks of that kind.")
    path = os.path.join(tempfile.gettempdir(), f"{name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
