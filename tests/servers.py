"""Real servers for tests: start them, wait for them, stop them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from . import http
from .forking import ForkedProcess
from .waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent

#: Publisher /send-update/<id>, long poll /updates/<id>, interval /interval/<id>.
LOCATIONS: tuple[dict[str, Any], ...] = (
    {"type": "publisher", "url": "/send-update/([^/]+)"},
    {
        "type": "subscriber",
        "url": "/updates/([^/]+)",
        "create_on_get": True,
        "passthrough": "/passthrough",
    },
    {
        "type": "subscriber",
        "url": "/interval/([^/]+)",
        "polling": "interval",
        "create_on_get": True,
    },
)


#: The modules that are started by forking where they are run with ``python -m``.
FORKED = {"daphne", "django", "uvicorn"}

#: The line of a warning of deprecation in the log of a server, caused by this package.
#: Python writes them if PYTHONWARNINGS says so.
_DEPRECATION = re.compile(
    rf"^{re.escape(str(ROOT))}[/\\]pushserver(?:_channels)?[/\\].*: "
    r"(?:(?:Pending)?Deprecation|RemovedIn\w+)Warning: .*$",
    re.MULTILINE,
)

_given_ports: set[int] = set()


def free_port() -> int:
    """Return a free TCP port on loopback, a different one for each call."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if port not in _given_ports:
            # The system may return it again before the caller listens on it.
            _given_ports.add(port)
            return port


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a port on loopback accepts connections."""
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True


def hear_interrupts() -> None:
    """Let SIGINT end this process, as a terminal's foreground process.

    A shell makes background processes ignore it, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class ServerProcess:
    """A server process, as a context manager.

    Args:
        command: The command line; ``{port}`` in it stands for the port.
        env: Environment variables to add to those of this process.
        cwd: The working directory of the server.
        last_signal: Ends the process when the context ends. A process without children
            may be killed, which saves a Python process the 0.3 s of CPU time in which
            it frees its memory.
    """

    def __init__(
        self,
        *command: str,
        env: dict[str, str] | None = None,
        cwd: Path = ROOT,
        last_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.cwd = cwd
        self.last_signal = last_signal
        self.host = "127.0.0.1"
        self.port = free_port()
        self.command = [part.format(port=self.port) for part in command]
        self.env = {**os.environ, **(env or {})}
        self.output = tempfile.NamedTemporaryFile()  # noqa: SIM115

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        self.process = self._create()

        def is_up() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.command} ended:\n{self.log()}")
            return self.listens()

        wait_until(is_up)

    def _create(self) -> subprocess.Popen[bytes] | ForkedProcess:
        python, option, *arguments = self.command
        # Worker processes are started anew, as copies of a process that is not forked.
        # And the process that forks has these tests, not those of another release.
        if (
            (python, option) == (sys.executable, "-m")
            and self.cwd == ROOT
            and arguments[0] in FORKED
            and "--workers" not in arguments
        ):
            return ForkedProcess(
                *(arguments[0], arguments[1:]),
                env=self.env,
                cwd=self.cwd,
                output=Path(self.output.name),
            )
        return subprocess.Popen(
            self.command,
            cwd=self.cwd,
            env=self.env,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            preexec_fn=hear_interrupts,
        )

    def listens(self) -> bool:
        """Return whether the server accepts connections."""
        return listens(self.port, self.host)

    def handles(self, how: signal.Signals) -> bool:
        """Return whether the process has a handler for a signal, True if unknown."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:  # Not on Linux.
            return True
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (how - 1) & 1)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Send a signal, wait until the process ends and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def log(self) -> str:
        """Return the output of the process so far."""
        # Do not seek: the process writes at the position of the same open file.
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), size, 0).decode(errors="replace")

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.stop(self.last_signal)
            deprecated = _DEPRECATION.findall(self.log())
            assert not deprecated, deprecated
        finally:
            self.output.close()


def daphne(
    push_server: dict[str, Any] | None = None,
    application: str = "tests.asgi:application",
    **env: str,
) -> ServerProcess:
    """Return a Daphne that serves the tests' site with the given settings."""
    conf = {"locations": LOCATIONS, **(push_server or {})}
    return ServerProcess(
        *(sys.executable, "-m", "daphne", "-v", "0"),
        *("-e", "tcp:port={port}:interface=127.0.0.1:backlog=4096"),
        application,
        env={
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_PUSH_SERVER": json.dumps(conf),
            **env,
        },
        last_signal=signal.SIGKILL,
    )


def runpushserver(*arguments: str, **push_server: Any) -> ServerProcess:
    """Return a ``manage.py runpushserver`` of the tests' site."""
    conf = {"locations": LOCATIONS, **push_server}
    return ServerProcess(
        *(sys.executable, "-m", "django", "runpushserver", *arguments),
        env={
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(ROOT),
            "TEST_PUSH_SERVER": json.dumps(conf),
        },
    )


def channel_info(url: str) -> dict[str, Any]:
    """Return the channel info from a publisher URL; empty if there is no channel."""
    response = http.get(url, headers={"Accept": "application/json"})
    if response.status_code == 404:
        return {}
    info: dict[str, Any] = response.json()
    return info


def wait_until_held(url: str, count: int = 1) -> None:
    """Wait until the channel of a publisher URL has this number of held requests."""
    wait_until(lambda: channel_info(url).get("subscribers") == count)
