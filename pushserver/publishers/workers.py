"""Threads in which async code publishes, bounded in number and in order.

They are not those of ``concurrent.futures``, which takes no more work once the main
thread has ended, while other threads of the process may still publish.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar

from .deadline import Deadline

Result = TypeVar("Result")

#: Threads at most.
MAX_THREADS = 16

#: Seconds after which a thread without work ends.
MAX_IDLE = 5.0


class NotStarted(TimeoutError):
    """No thread was free for the work until its deadline, so nothing was done."""


class _Job:
    """Work to be done in a thread, and the future that waits for its result."""

    def __init__(self, key: Hashable, work: Callable[[], Any]) -> None:
        self.key = key
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.is_claimed = False

    def do(self) -> None:
        """Do the work, and hand what came of it to the event loop."""
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self.work()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # The event loop may have been closed meanwhile.
            self.loop.call_soon_threadsafe(self._settle, result, failure)

    def _settle(self, result: Any, failure: BaseException | None) -> None:
        if self.future.done():
            return  # Nobody waits any more.
        if failure is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(failure)


class Workers:
    """Does work in a few threads, that of one key in the order in which it came."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: the threads of a parent process are not in its child."""
        self._changed = threading.Condition()
        self._ready: deque[_Job] = deque()
        # By the key: what has to wait for work of the same key that is ready or runs.
        self._behind: dict[Hashable, deque[_Job]] = {}
        self._threads = 0
        self._idle = 0

    async def run(
        self, key: Hashable, work: Callable[[], Result], deadline: Deadline
    ) -> Result:
        """Do work in a thread, and return its result.

        Args:
            key: Work with the same key is done one after the other.
            work: The work, which has to end at the deadline by itself.
            deadline: Work that has not begun by then is not done.

        Raises :class:`NotStarted` at the deadline, and what the work raises.
        """
        job = _Job(key, work)
        timer = None
        if deadline.is_over:
            raise NotStarted  # The event loop was busy with others all the time.
        if not self._add(job):
            job.do()  # Better to hold up the event loop than to publish nothing.
        elif deadline.seconds:
            timer = job.loop.call_later(deadline.seconds, self._expire, job)
        try:
            result: Result = await job.future
            return result
        finally:
            if timer is not None:
                timer.cancel()
            self._claim(job)  # Who was cancelled wants it no more.

    def _add(self, job: _Job) -> bool:
        """Take a job; return whether there is a thread that will come to it."""
        with self._changed:
            behind = self._behind.get(job.key)
            if behind is not None:
                behind.append(job)
                return True
            if self._idle <= len(self._ready) and self._threads < MAX_THREADS:
                try:
                    threading.Thread(target=self._work, daemon=True).start()
                except RuntimeError:  # As at the end of a process.
                    if not self._threads:
                        job.is_claimed = True
                        return False
                else:
                    self._threads += 1
            self._behind[job.key] = deque()
            self._ready.append(job)
            self._changed.notify()
            return True

    def _claim(self, job: _Job) -> bool:
        """Return whether nobody has begun with a job or given it up, and claim it."""
        with self._changed:
            if job.is_claimed:
                return False
            job.is_claimed = True
            return True

    def _expire(self, job: _Job) -> None:
        if self._claim(job) and not job.future.done():
            job.future.set_exception(NotStarted())

    def _work(self) -> None:
        """Do one job after the other until there is none for some time."""
        while True:
            with self._changed:
                while not self._ready:
                    self._idle += 1
                    was_called = self._changed.wait(MAX_IDLE)
                    self._idle -= 1
                    if not was_called and not self._ready:
                        self._threads -= 1
                        return
                job = self._ready.popleft()
            if self._claim(job):
                job.do()
            with self._changed:
                behind = self._behind[job.key]
                if behind:
                    # First come, first served: it takes its turn behind other keys.
                    self._ready.append(behind.popleft())
                else:
                    del self._behind[job.key]
            del job, behind  # A thread that waits holds nothing of the last publish.


#: Those of this process.
workers = Workers()

if hasattr(os, "register_at_fork"):  # Windows has none.
    os.register_at_fork(after_in_child=workers.forget)
