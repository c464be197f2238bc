"""The load generator: one C file, compiled when it is first needed.

It is a single thread on epoll that checks every answer byte for byte. That it is never
what limits a result shows in the share of its core that it was busy, which is told with
each line, beside the server's in the JSON file: this one has time left.
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

#: Seconds that are more than enough for a slice that a number of messages ends.
TIME_LIMIT = 120


class LoadFailed(Exception):
    """The server did not do what it was measured at; the text is what it did."""


def compile_generator() -> None:
    """Compile the generator, unless it was since the source last changed."""
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
    """What a server did in a short time under load.

    Attributes:
        operations: How many deliveries, or publishes.
        seconds: What they took.
        client: Seconds that the generator was busy.
        server: Seconds that the server was busy.
        disconnects: How often a client of this load was disconnected so far.
    """

    operations: int
    seconds: float
    client: float
    server: float
    disconnects: int

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds


class Load:
    """Clients of a server, and who publishes to them, as a context manager.

    They are all connected when its block begins, and do nothing but wait until they
    are asked for a slice. They vanish at the end of the block.

    Args:
        server: Who is put under load.
        mode: ``publish``, ``fanout`` or ``sse``.
        clients: Those that wait.
        channels: Over which they are spread evenly, or to which is published.
        window: The channels to which is published before all clients of them have to
            have their messages; if none are given, all of them.
        name: The channels' common name, if another load is to use the same.
    """

    def __init__(
        self,
        server: Server,
        mode: str,
        *,
        clients: int = 0,
        channels: int = 1,
        window: int = 0,
        name: str = "",
    ) -> None:
        self.server = server
        # A message on each channel is one for each client; publishers have none.
        self._round = 0 if mode == "publish" else channels
        options = ("-n", clients, "-m", channels, "-w", window)
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
        """Have it work for a time, or a number of messages if that is over before.

        Raises :class:`LoadFailed` if an answer was lost, doubled, out of order or
        damaged.
        """
        assert self.process.stdin is not None
        client, server = read_times(self.process.pid)[0], self.server.cpu
        limit = "" if messages is None else f" {messages}"
        try:
            self.process.stdin.write(f"{seconds}{limit}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # It has said why.
        answer = json.loads(self._read_line())
        return Slice(
            answer["operations"],
            answer["seconds"],
            read_times(self.process.pid)[0] - client,
            self.server.cpu - server,
            answer["disconnects"],
        )

    def warm_up(self) -> None:
        """Have each client answered once."""
        if self._round:
            self.publish(self._round)

    def publish(self, messages: int) -> None:
        """Have it publish so many messages."""
        self.take_slice(TIME_LIMIT, messages)

    def _read_line(self) -> str:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            raise LoadFailed(self.process.stderr.read().strip())
        return line


def hold(server: Server, clients: int) -> Load:
    """Return clients that only wait at a server."""
    return Load(server, "fanout", clients=clients)
