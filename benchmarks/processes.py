"""Server processes: started on their core, waited for, looked at, killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import cores

ROOT = Path(__file__).resolve().parent.parent

#: Seconds that a server gets to listen.
START_TIMEOUT = 60.0


class ServerFailed(Exception):
    """A server did not start; the text is what it said."""


class Server:
    """A server process, as a context manager.

    Args:
        command: The command line; ``{port}`` in it is the port.
        env: What its environment has besides this process's.
        on: The cores that it may use.
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

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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
        # With its workers, and not politely: that would wait for who is still held.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    @property
    def pids(self) -> list[int]:
        """The processes that do the work: the children, where there are some."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children] or [pid]

    @property
    def memory(self) -> int:
        """The resident memory of the processes that do the work, in bytes."""
        return sum(_resident(pid) for pid in self.pids)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def _read_log(self) -> str:
        self.log.seek(0)
        return self.log.read().strip()


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
