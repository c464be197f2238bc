"""Run coroutines on the push server's event loop, from other threads and loops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent import futures
from contextlib import suppress
from typing import Any, TypeVar

from pushserver.publishers.deadline import Deadline

Result = TypeVar("Result")


def submit(
    work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop
) -> futures.Future[Result]:
    """Start a coroutine on the push server's event loop, from another thread."""
    try:
        return asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError as error:  # The event loop was closed.
        work.close()
        raise futures.CancelledError from error


def run_from_thread(
    work: Coroutine[Any, Any, Result],
    loop: asyncio.AbstractEventLoop,
    deadline: Deadline,
) -> Result:
    """Run a coroutine on the push server's event loop, and wait in this thread."""
    future = submit(work, loop)
    try:
        return future.result(deadline.left())
    except futures.TimeoutError:
        future.cancel()
        raise


async def wait_for_result(future: futures.Future[Result], deadline: Deadline) -> Result:
    """Wait on this event loop for the result of the push server's event loop."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def notify(future: futures.Future[Result]) -> None:
        with suppress(RuntimeError):  # This event loop was closed.
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(notify)
    try:
        await asyncio.wait_for(done.wait(), deadline.left())
    finally:
        future.cancel()
    return future.result()
