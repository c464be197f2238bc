"""Start, observe and stop server processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import cores

ROOT = Path(__file__).resolve().parent.parent

#: Seconds within which a server must listen.
START_TIMEOUT = 60.0

#: A server is quiet if it is busy for less than this part of LOOK seconds.
QUIET = 0.1
LOOK = 0.03


class ServerFailed(Exception):
    """A server did not start; the text is its output."""


class Server:
    """A server process, as a context manager.

    Args:
        command: The command line, in which ``{port}`` stands for the port.
        env: Environment variables besides those of this process.
        on: The cores that it may use.

    Attributes:
        companions: Other processes, such as its Redis, that are stopped and continued
            with it.
    """

    def __init__(
        self,
        command: list[str],
        env: dict[str, str] | None = None,
        on: set[int] = cores.SERVER,
    ) -> None:
        self.port = _free_port()
        self.command = [part.replace("{port}", str(self.port)) for part in command]
        self.env = {**os.environ, **(env or {})}
        self.on = on
        self.companions: list[int] = []

    def __enter__(self) -> Server:
        self.log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            preexec_fn=cores.pin_to(self.on),
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self._read_log()
                self.__exit__()
                raise ServerFailed(said or "It does not listen.")
            time.sleep(0.02)
        return self

    def __exit__(self, *error: object) -> None:
        # Killed with its workers, because SIGTERM would wait for held requests.
        with suppress(ProcessLookupError):  # It may have ended already.
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def rest(self) -> None:
        """Suspend the processes, so that they use no time of a core."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        for pid in self.companions:
            os.kill(pid, signal.SIGSTOP)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Continue the processes during a block, and suspend them again."""
        for pid in self.companions:
            os.kill(pid, signal.SIGCONT)
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            self.rest()

    def wait_until_quiet(self) -> None:
        """Wait until the server is idle."""
        deadline = time.monotonic() + START_TIMEOUT
        busy = LOOK
        while busy > LOOK * QUIET and time.monotonic() < deadline:
            before = sum(self._times())
            time.sleep(LOOK)
            # Time spent waiting for a core counts as busy.
            busy = sum(self._times()) - before

    @property
    def cpu(self) -> float:
        """The seconds for which the working processes have run on a core."""
        return self._times()[0]

    def _times(self) -> tuple[float, float]:
        times = [read_times(pid) for pid in self.pids]
        return sum(ran for ran, _ in times), sum(waited for _, waited in times)

    @property
    def pids(self) -> list[int]:
        """The ids of the working processes: the children, if there are any."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            return []  # The server has ended.
        return [int(child) for child in children] or [pid]

    @property
    def memory(self) -> int:
        """The resident memory of the working processes, in bytes."""
        return sum(_resident(pid) for pid in self.pids)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def _read_log(self) -> str:
        self.log.seek(0)
        return self.log.read().strip()


def read_times(pid: int) -> tuple[float, float]:
    """Return the seconds for which a process has run on a core, and waited for one."""
    ran = waited = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # It may have ended.
            times = thread.read_text().split()
            ran, waited = ran + int(times[0]), waited + int(times[1])
    return ran / 1e9, waited / 1e9


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _resident(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Rss: +(\d+) kB$", rollup, re.MULTILINE)
    assert match is not None, "Linux tells Rss for every process"
    return int(match[1]) * 1024
