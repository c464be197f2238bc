"""Threads in which async code calls functions that wait."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted, Workers
from pushserver.publishers.workers import workers as publishing
from pushserver_channels.access.authorizer import workers as authorizing

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


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork().")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [publishing, authorizing])
def test_a_forked_child_lacks_the_threads_of_its_parent(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts threads of its own, instead of waiting for the parent's."""
    monkeypatch.setattr(workers, "_threads", 3)
    child = os.fork()
    if not child:
        os._exit(workers._threads)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_more_threads_are_started_only_for_slow_jobs() -> None:
    """Short jobs share the usual threads; jobs that wait keep no others waiting."""
    workers = Workers(4, 2)
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1

    deadline = Deadline(20)
    await asyncio.gather(*(workers.run(object(), work, deadline) for _ in range(300)))
    assert most <= 2
    gate = threading.Event()
    waiting = [
        asyncio.ensure_future(workers.run(object(), gate.wait, deadline))
        for _ in range(3)
    ]
    await workers.run(object(), work, deadline)
    gate.set()
    await asyncio.gather(*waiting)


async def test_threads_for_slow_jobs_stay_while_these_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While jobs wait, the threads beside them run all short jobs."""
    workers = Workers(4, 2)
    gate, deadline, entered = threading.Event(), Deadline(20), []

    def wait() -> None:
        entered.append(None)
        gate.wait()

    waiting = [
        asyncio.ensure_future(workers.run(object(), wait, deadline)) for _ in range(2)
    ]
    await until(lambda: len(entered) == 2)
    await workers.run(object(), threading.get_ident, deadline)
    started = []

    class Counted(threading.Thread):
        def start(self) -> None:
            started.append(self)
            super().start()

    monkeypatch.setattr(threading, "Thread", Counted)
    for _ in range(20):
        await workers.run(object(), threading.get_ident, deadline)
    assert len(started) <= 1
    gate.set()
    await asyncio.gather(*waiting)
