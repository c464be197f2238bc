"""Threads in which async code calls functions that wait."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted, Workers

from .waiting import until


async def test_jobs_that_are_given_up_are_not_kept() -> None:
    """While all threads are busy, jobs that nobody waits for take no memory."""
    workers = Workers(1)
    gate, done = threading.Event(), []
    deadline = Deadline(0)
    first = asyncio.ensure_future(workers.run("a", gate.wait, deadline))
    await until(lambda: not workers._ready)
    for number in range(1000):
        for key in ("a", object()):
            job = asyncio.ensure_future(
                workers.run(key, lambda: done.append("given up"), deadline)
            )
            await asyncio.sleep(0)
            job.cancel()
            await asyncio.wait([job])
        if number == 500:
            late = Deadline(0.001)
            with pytest.raises(NotStarted):
                await workers.run("late", lambda: done.append("late"), late)
    queued = len(workers._ready) + sum(map(len, workers._blocked.values()))
    assert queued < 200
    others = [
        asyncio.ensure_future(
            workers.run(key, lambda key=key: done.append(key), deadline)
        )
        for key in ("a", "b", "a", "b")
    ]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *others)
    assert sorted(done) == ["a", "a", "b", "b"]
    await until(lambda: not workers._blocked)
    assert workers._given_up == 0
