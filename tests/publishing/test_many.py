"""Many concurrent updates from async code: bounded, in order, with correct errors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from contextlib import ExitStack
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver.publishers import PublishError, workers
from pushserver.publishers.connections import (
    MAX_CONNECTIONS,
    Connections,
    NoConnectionFree,
)
from pushserver.publishers.deadline import Deadline
from pushserver.updates import asend_update

from .small_server import SmallServer, publish_to

MANY = 300


async def test_concurrent_updates_share_a_few_connections(
    small: SmallServer, settings: LazySettings
) -> None:
    """All updates are published, over at most as many connections as threads."""
    publish_to(small.host, settings)
    receipts = await asyncio.gather(*(asend_update(f"{n}", n) for n in range(MANY)))
    assert [each.status for each in receipts if each] == [202] * MANY
    assert len(small.requests) == MANY
    assert len(small.connections) <= workers.MAX_THREADS


async def test_updates_of_a_channel_keep_their_order(
    small: SmallServer, settings: LazySettings
) -> None:
    """Updates of one channel arrive in the order of the calls."""
    publish_to(small.host, settings)
    await asyncio.gather(*(asend_update(f"{n % 3}", n) for n in range(MANY)))
    for channel in range(3):
        path = f"/publisher/{channel}"
        bodies = [json.loads(body) for to, _, body in small.requests if to == path]
        assert bodies == list(range(channel, MANY, 3))


async def test_error_says_whether_the_update_may_have_been_published(
    settings: LazySettings,
) -> None:
    """Only errors of updates that may have been published say so."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        publish_to(host, settings, publisher_timeout=0.5)
        sending = (asend_update(f"{n}", n) for n in range(40))
        errors = await asyncio.gather(*sending, return_exceptions=True)
        assert {type(error) for error in errors} == {PublishError}
        told = [str(error) for error in errors]
        sent = [each for each in told if "may have been published" in each]
        not_sent = [
            each for each in told if "was not sent" in each or "not published" in each
        ]
        assert not_sent
        assert len(sent) + len(not_sent) == 40
        # The requests that were sent have arrived, since this listener is there.
        assert count_posts(listener) == len(sent)


def count_posts(listener: socket.socket) -> int:
    """Return the number of requests that a listener has received but not answered."""
    listener.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            with connection:
                count += connection.recv(4) == b"POST"
    return count


async def test_cancelled_queued_update_is_not_published(
    small: SmallServer, settings: LazySettings
) -> None:
    """An update whose task is cancelled while it is queued is not published."""
    publish_to(small.host, settings)
    small.may_answer.clear()
    first, second, third = (
        asyncio.create_task(asend_update("news", number)) for number in range(3)
    )
    await asyncio.sleep(0)  # All of them are queued, since they have the same channel.
    second.cancel()
    await asyncio.wait([second])
    small.may_answer.set()
    await asyncio.gather(first, third)
    assert [body for *_, body in small.requests] == [b"0", b"2"]


def test_number_of_connections_is_limited() -> None:
    """Above the limit, sync code waits until its deadline for a free connection."""
    bounded: Connections[Any] = Connections()
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(bounded.use(Deadline(0)))
        with pytest.raises(NoConnectionFree), bounded.use(Deadline(0.05)):
            pass
    with bounded.use(Deadline(0.05)):
        pass
