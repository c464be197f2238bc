"""A limited number of threads in which async code publishes, in order.

``concurrent.futures`` cannot be used: it accepts no work after the main thread has
ended, and other threads of the process may still publish then.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar

from .deadline import Deadline

Result = TypeVar("Result")

#: Jobs that were given up before they were started, and are still queued, above which
#: they are removed. They stay there while all threads are busy.
MAX_GIVEN_UP = 64

#: The most threads.
MAX_THREADS = 16

#: Seconds after which an idle thread ends.
MAX_IDLE = 5.0

#: Seconds after which a job counts as slow.
SLOW = 0.1


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
        """Do the work, and pass its result or exception to the event loop."""
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self.work()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # The event loop may have been closed meanwhile.
            self.loop.call_soon_threadsafe(self._finish, result, failure)

    def _finish(self, result: Any, failure: BaseException | None) -> None:
        """Set the result or the exception of the future."""
        if self.future.done():
            return  # The task that waited was cancelled.
        if failure is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(failure)


class Workers:
    """Runs jobs in a few threads, those of one key in the order of the calls.

    Args:
        max_threads: The most threads.
        usual_threads: The most threads for short jobs, None for as many. Each job that
            has run for :data:`SLOW` seconds allows one more, because it waits for
            something. Short ones would only take turns with the event loop more often.
    """

    def __init__(
        self, max_threads: int = MAX_THREADS, usual_threads: int | None = None
    ) -> None:
        self._max_threads = max_threads
        self._usual_threads = usual_threads or max_threads
        self.forget()

    def forget(self) -> None:
        """Start without threads: a forked child lacks those of its parent."""
        self._changed = threading.Condition()
        self._ready: deque[_Job] = deque()
        # By key: the jobs that wait until a job of the same key has run.
        self._blocked: dict[Hashable, deque[_Job]] = {}
        self._threads = 0
        self._idle = 0
        self._given_up = 0
        # When the running jobs were started, by thread.
        self._started: dict[int, float] = {}
        # The event loop that checks whether jobs are slow, None if none does.
        self._watching: asyncio.AbstractEventLoop | None = None

    async def run(
        self, key: Hashable, work: Callable[[], Result], deadline: Deadline
    ) -> Result:
        """Call a function in a thread, and return its result.

        Args:
            key: Functions with the same key are called one after the other.
            work: The function. It has to return by the deadline.
            deadline: If it has not been called by then, it is not called.

        Raises :class:`NotStarted` at the deadline, and what the function raises.
        """
        job = _Job(key, work)
        timer = None
        if deadline.is_over:
            raise NotStarted  # The event loop was busy with other tasks.
        if not self._add(job):
            job.do()  # It blocks the event loop, but otherwise nothing is published.
        elif deadline.seconds:
            timer = job.loop.call_later(deadline.seconds, self._expire, job)
        try:
            result: Result = await job.future
            return result
        finally:
            if timer is not None:
                timer.cancel()
            if not job.is_claimed:
                self._give_up(job)  # This task was cancelled, so the job is not run.

    def _add(self, job: _Job) -> bool:
        """Queue a job; return False if there is no thread that could run it."""
        with self._changed:
            blocked = self._blocked.get(job.key)
            if blocked is not None:
                blocked.append(job)
                return True
            if self._idle <= len(self._ready) and self._threads < self._allowed():
                self._start_thread()
            if not self._threads:
                job.is_claimed = True
                return False
            self._blocked[job.key] = deque()
            self._ready.append(job)
            self._changed.notify()
            if self._usual_threads < self._max_threads:
                self._watch(job.loop)
            return True

    def _allowed(self) -> int:
        """Return how many threads may run now."""
        if self._usual_threads == self._max_threads:
            return self._max_threads
        before = time.monotonic() - SLOW
        slow = sum(started <= before for started in self._started.values())
        return min(self._usual_threads + slow, self._max_threads)

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except RuntimeError:  # For example because the process is exiting.
            return
        self._threads += 1

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check after a while whether jobs are slow."""
        if self._watching is None or self._watching.is_closed():
            self._watching = loop
            loop.call_later(SLOW, self._check_speed, loop)

    def _check_speed(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start another thread if jobs are slow and others wait."""
        with self._changed:
            self._watching = None
            if not self._ready:
                return
            if self._threads < self._allowed():
                self._start_thread()
            self._watch(loop)

    def _claim(self, job: _Job) -> bool:
        """Claim a job; return False if it was started or given up already."""
        with self._changed:
            if job.is_claimed:
                return False
            job.is_claimed = True
            return True

    def _give_up(self, job: _Job) -> bool:
        """Give up a job; return False if it was started or given up already."""
        with self._changed:
            if not self._claim(job):
                return False
            self._given_up += 1
            if self._given_up > max(MAX_GIVEN_UP, len(self._ready) // 2):
                self._remove_given_up()
            return True

    def _remove_given_up(self) -> None:
        """Remove the jobs that were given up from all queues."""
        self._given_up = 0
        for key, blocked in self._blocked.items():
            if any(job.is_claimed for job in blocked):
                self._blocked[key] = deque(job for job in blocked if not job.is_claimed)
        ready, self._ready = self._ready, deque()
        for job in ready:
            if not job.is_claimed:
                self._ready.append(job)
            elif self._blocked[job.key]:
                self._ready.append(self._blocked[job.key].popleft())
            else:
                del self._blocked[job.key]

    def _expire(self, job: _Job) -> None:
        """Give up a job that no thread has started by its deadline."""
        if self._give_up(job) and not job.future.done():
            job.future.set_exception(NotStarted())

    def _work(self) -> None:
        """Run jobs until there has been none for :data:`MAX_IDLE` seconds."""
        thread = threading.get_ident()
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
                self._started[thread] = time.monotonic()
            was_given_up = not self._claim(job)
            if not was_given_up:
                job.do()
            with self._changed:
                del self._started[thread]
                self._given_up = max(self._given_up - was_given_up, 0)
                blocked = self._blocked[job.key]
                if blocked:
                    # At the end of the queue, so that no key delays the others.
                    self._ready.append(blocked.popleft())
                else:
                    del self._blocked[job.key]
                if self._threads > self._allowed():
                    self._threads -= 1
                    return
            del job, blocked  # So that an idle thread keeps no objects alive.


#: The threads of this process.
workers = Workers()

if hasattr(os, "register_at_fork"):  # Windows has no fork().
    os.register_at_fork(after_in_child=workers.forget)
