"""Roll four processes from one release to another and back, while they are used."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.traffic import Outcome, Traffic
from tests.servers import ROOT, ServerProcess, daphne
from tests.valkey import Valkey

from .clients import JSON, Listener, ScriptPublisher

#: The commit that stands for the last release, as long as this server has none. The
#: store's tests call it the first release.
LAST_RELEASE = "db9bb50bfcb638daddb8cc529a35e7a3cd131937"

#: How many processes serve.
PROCESSES = 4


@dataclass
class Result:
    """What became of the messages.

    Attributes:
        outcome: The outcome over all channels and subscribers.
        received: How many messages were received, counted for each subscriber.
        rolls: How many times a process was replaced by one of the other release.
        misread: The types of messages that were received, but not sent.
    """

    outcome: Outcome
    received: int
    rolls: int
    misread: set[str]

    def complain(self) -> list[str]:
        """Return what was promised, and broken."""
        complaints = {
            "lost": self.outcome.lost,
            "doubled": self.outcome.doubled,
            "reordered": self.outcome.reordered,
            "published, though refused": self.outcome.published,
            "misread": self.misread,
        }
        return [each for each, is_so in complaints.items() if is_so]


@contextmanager
def check_out(commit: str) -> Iterator[Path]:
    """Return a directory with the files of a commit, as a context manager."""
    with TemporaryDirectory() as directory:
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
        yield Path(directory)


def has_commit(commit: str) -> bool:
    """Return whether the repository has a commit: an unpacked release has none."""
    command = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    try:
        return not subprocess.run(command, cwd=ROOT, capture_output=True).returncode
    except FileNotFoundError:
        return False


class Rolling:
    """Processes that share a store in Redis, each of the old or the new release.

    Args:
        old: The directory of the old release.
        url: The URL of Redis.
    """

    def __init__(self, old: Path, url: str) -> None:
        self._old = old
        self._conf = {
            "store": {"type": "redis", "url": url, "max_messages": 1000},
            "locations": [
                {"type": "publisher", "url": "/send-update/([^/]+)"},
                {
                    "type": "subscriber",
                    "url": "/updates/([^/]+)",
                    "create_on_get": True,
                },
            ],
        }
        self.servers = [self._make(old) for _ in range(PROCESSES)]
        self.rolls = 0

    def start(self) -> None:
        """Start all processes, of the old release."""
        for each in self.servers:
            each.start()

    def stop(self) -> None:
        """Stop all processes."""
        for each in self.servers:
            each.stop()
            each.output.close()

    def roll(self, index: int, root: Path) -> None:
        """Replace a process by one of a release, at the same address."""
        former = self.servers[index]
        former.stop()
        log = former.log()
        former.output.close()
        assert "Traceback" not in log, log
        self.servers[index] = self._make(root, former)
        self.servers[index].start()
        self.rolls += 1

    async def go_there_and_back(self, seconds: float) -> None:
        """Roll all processes to the new release and back, within so many seconds."""
        orders = [
            (index, root) for root in (ROOT, self._old) for index in range(PROCESSES)
        ]
        pause = seconds / (len(orders) + 1)
        await asyncio.sleep(pause)
        for index, root in orders:
            await asyncio.to_thread(self.roll, index, root)
            await asyncio.sleep(pause)

    def make_script(self, root: Path, channel: str, pause: float) -> ScriptPublisher:
        """Return a process of a release that publishes without a push server."""
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_PUSH_SERVER": json.dumps(self._conf),
        }
        return ScriptPublisher(channel, [], pause, root=root, env=env)

    def _make(self, root: Path, former: ServerProcess | None = None) -> ServerProcess:
        server = daphne(self._conf)
        server.cwd = root
        if former is not None:
            server.port, server.command = former.port, former.command
        return server


async def run(seconds: float, commit: str = LAST_RELEASE, pause: float = 0.1) -> Result:
    """Roll processes to this release and back while messages are published.

    Args:
        seconds: How long it takes, besides the starts of the processes.
        commit: The commit of the old release.
        pause: The seconds between two messages of a publisher.
    """
    with ExitStack() as stack:
        old = stack.enter_context(check_out(commit))
        valkey = stack.enter_context(Valkey())
        rolling = Rolling(old, valkey.url)
        stack.callback(rolling.stop)
        await asyncio.to_thread(rolling.start)
        ports = [each.port for each in rolling.servers]
        traffic = Traffic(ports, pause=pause)
        scripts = [
            rolling.make_script(root, f"script-{name}", pause)
            for name, root in (("old", old), ("new", ROOT))
        ]
        traffic.publishers += scripts
        channels = [each.channel for each in traffic.publishers]
        listeners = [
            Listener(channel, [port], 0.0, 0.0)
            for channel in channels
            for port in ports
        ]
        traffic.subscribers += listeners
        async with traffic:
            await traffic.flow(3)
            await rolling.go_there_and_back(seconds)
            traffic.end_fault()
            resumed = await traffic.resume()
            await traffic.end()
        types = {
            name
            for each in listeners
            for name in each.types
            if name != (JSON if each.channel.startswith("script") else "")
        }
        received = sum(len(each.received) for each in traffic.subscribers)
        return Result(traffic.outcome(resumed), received, rolling.rolls, types)
