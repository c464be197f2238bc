"""Start ``python -m …`` by forking a process that has imported libraries.

A server spends a second of CPU time on its start, most of it on importing Twisted and
Django, and the tests start hundreds. This package is imported by each server itself, as
always, and so is what acts when it is imported, such as Twisted's reactor.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import TimeoutExpired

#: The audit event of a new process.
FORKS = "tests.forking.fork"

#: Modules that are imported once; those that are not installed are left out.
LIBRARIES = (
    *("twisted.internet.ssl", "twisted.internet.posixbase", "twisted.web.http"),
    *("autobahn.twisted.websocket", "channels.routing", "channels.generic.http"),
    *("django.contrib.staticfiles.handlers", "django.core.management"),
    *("redis.asyncio", "uvicorn.server", "httptools", "channels_redis.core"),
)


class ForkedProcess:
    """A process that runs a module, with the methods of :class:`subprocess.Popen`.

    Args:
        module: The name of the module, as after ``python -m``.
        arguments: Those of its command line.
        env: Its environment.
        cwd: Its working directory.
        output: A file for what it writes.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        output: Path,
    ) -> None:
        sys.audit(FORKS, module)
        told = (module, list(arguments), dict(env), str(cwd), str(output))
        self._process = _context().Process(target=_run, args=told)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, or None if the process has not ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when the process has ended.

        Args:
            timeout: Seconds after which it raises :exc:`subprocess.TimeoutExpired`.
        """
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            assert timeout is not None
            raise TimeoutExpired(self._process.name, timeout)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [name for name in LIBRARIES if find_spec(name.partition(".")[0])]
    )
    return context


def _run(
    module: str, arguments: list[str], env: dict[str, str], cwd: str, output: str
) -> None:
    """Do what a new Python does before it runs a module, and run it."""
    with open(output, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    paths = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:] = [*paths, *(each for each in sys.path if each not in paths)]
    sys.argv = [module, *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
