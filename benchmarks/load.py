"""The load generator: a C program, compiled when it is first needed.

It is a single thread with epoll that checks every answer byte for byte. To show that it
does not limit the results, each line of the report says how busy its core was.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from . import cores
from .processes import ROOT, Server, read_times

SOURCE = Path(__file__).with_name("pushload.c")
PROGRAM = ROOT / "build" / "load"

#: Seconds after which a slice of a given number of messages ends in any case.
TIME_LIMIT = 120


class LoadFailed(Exception):
    """The server did not answer as it should; the text says what was wrong."""


def compile_generator() -> None:
    """Compile the generator, if its source has changed since."""
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= SOURCE.stat().st_mtime:
        return
    compiler = which("cc")
    if compiler is None:
        sys.exit(
            "The load generator is written in C, and there is no compiler here."
            " On Debian and Ubuntu: apt install gcc libc6-dev"
        )
    PROGRAM.parent.mkdir(exist_ok=True)
    warnings = ("-Wall", "-Wextra")
    subprocess.run([compiler, "-O2", *warnings, "-o", PROGRAM, SOURCE], check=True)


@dataclass(frozen=True)
class Slice:
    """The result of a short time under load.

    Attributes:
        operations: The number of deliveries or publishes.
        seconds: The time that they took.
        client: Seconds for which the generator was busy.
        server: Seconds for which the server was busy.
        disconnects: How often a client of this load has been disconnected so far.
    """

    operations: int
    seconds: float
    client: float
    server: float
    disconnects: int

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


class Load:
    """Subscribers and publishers of a server, as a context manager.

    All of them are connected when the block begins, and work only when a slice is
    taken. They disconnect at the end of the block.

    Args:
        server: The server.
        mode: ``publish``, ``fanout``, ``sse`` or ``ws``.
        clients: The number of subscribers.
        channels: The number of channels, over which the subscribers are spread evenly.
        group: The number of channels on a stream.
        window: The number of channels to which messages are published before their
            subscribers must have got them, 0 for all channels.
        name: The common part of the channels' names, to share them with another load.
    """

    def __init__(
        self,
        server: Server,
        mode: str,
        *,
        clients: int = 0,
        channels: int = 1,
        group: int = 1,
        window: int = 0,
        name: str = "",
    ) -> None:
        self.server = server
        # A message on each channel is one message for each subscriber.
        self._round = 0 if mode == "publish" else channels
        options = ("-n", clients, "-m", channels, "-w", window, "-g", group)
        self.command = [str(each) for each in (PROGRAM, mode, server.port, *options)]
        if name:
            self.command += ["-c", name]

    def __enter__(self) -> Load:
        compile_generator()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=cores.pin_to(cores.LOAD),
        )
        try:
            self._read_line()
            self.server.wait_until_quiet()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def take_slice(self, seconds: float, messages: int | None = None) -> Slice:
        """Run the load for a time, or for a number of messages if that takes less.

        Args:
            seconds: The time in seconds.
            messages: The number of messages, None for no limit.

        Raises :class:`LoadFailed` if an answer was lost, duplicated, out of order or
        damaged.
        """
        assert self.process.stdin is not None
        client, server = read_times(self.process.pid)[0], self.server.cpu
        limit = "" if messages is None else f" {messages}"
        try:
            self.process.stdin.write(f"{seconds}{limit}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # The generator has printed the reason.
        answer = json.loads(self._read_line())
        return Slice(
            answer["operations"],
            answer["seconds"],
            read_times(self.process.pid)[0] - client,
            self.server.cpu - server,
            answer["disconnects"],
        )

    def warm_up(self) -> None:
        """Deliver one message to each subscriber."""
        if self._round:
            self.publish(self._round)

    def publish(self, messages: int) -> None:
        """Publish a number of messages."""
        self.take_slice(TIME_LIMIT, messages)

    def _read_line(self) -> str:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise LoadFailed(self.process.stderr.read().strip())
        return line


def hold(
    server: Server, clients: int, *, mode: str = "fanout", channels: int = 1
) -> Load:
    """Return a load of subscribers that only wait, each on this number of channels."""
    return Load(server, mode, clients=clients, channels=channels, group=channels)
