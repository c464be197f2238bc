"""Send the signals of presence, off the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Hashable

from django.db import close_old_connections

from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted, Workers
from pushserver.signals import member_joined, member_left
from pushserver_channels.counters import counters
from pushserver_channels.paced_log import PacedLog

logger = logging.getLogger("pushserver.presence")

#: The most receivers that run at once, each in a thread.
MAX_THREADS = 4

#: The most signals that wait for a thread. Those that come then are not sent.
MAX_WAITING = 10_000

#: Seconds for which a stopping server waits for receivers.
STOP_TIMEOUT = 5.0

_threads = Workers(MAX_THREADS)

if hasattr(os, "register_at_fork"):  # Windows has no fork().
    os.register_at_fork(after_in_child=_threads.forget)


def count_missed(count: int = 1) -> None:
    """Count signals that were not sent, or may not have been."""
    counters.limits["presence_signals"] += count


class Teller:
    """Sends signals in a few threads, those about one member in their order.

    A receiver that fails is logged. One that is slow delays others, but neither the
    subscribers nor what the channels tell. If too many wait, new ones are not sent.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._skipped = PacedLog(
            logger,
            f"%d signals of presence were not sent, because {MAX_WAITING} wait for"
            " slower receivers.",
        )

    def tell(self, channel_id: str, user: str, info: str, has_joined: bool) -> None:
        """Send the signal of a member that has come or gone.

        Args:
            channel_id: The channel.
            user: The key of the user.
            info: What is told about it, as JSON.
            has_joined: Whether it has come.
        """
        signal = member_joined if has_joined else member_left
        if not signal.has_listeners():
            return
        if len(self._tasks) >= MAX_WAITING:
            count_missed()
            self._skipped.add(extra={"channel_id": channel_id, "reason": "limited"})
            return

        def send() -> None:
            close_old_connections()
            try:
                # Django logs what a receiver raises, and calls the others.
                signal.send_robust(
                    sender=None, channel_id=channel_id, user=user, info=json.loads(info)
                )
            except BaseException:  # For example a CancelledError of a coroutine.
                logger.exception(
                    "A receiver of a signal of presence has failed",
                    extra={"channel_id": channel_id, "reason": "failed"},
                )
            finally:
                close_old_connections()

        task = asyncio.get_running_loop().create_task(
            self._send((channel_id, user), send)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, key: Hashable, send: Callable[[], None]) -> None:
        try:
            await _threads.run(key, send, Deadline(0))
        except NotStarted:
            count_missed()

    async def drain(self) -> None:
        """Wait until all signals were sent, at most :data:`STOP_TIMEOUT` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT)
