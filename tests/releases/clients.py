"""What uses the servers of two releases, besides the polls of :mod:`tests.faults`."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pushserver.client import listen
from tests.faults.traffic import Publisher, Received, Sent, Subscriber

#: What a process without a push server runs: it publishes each line that it reads, and
#: writes the id of the message.
SCRIPT = """
import sys
import django
django.setup()
from pushserver.updates import send_update
for line in sys.stdin:
    receipt = send_update(line.split()[0], line.strip(), already_serialized=True)
    print(receipt.info["last_message_id"], flush=True)
"""

#: The type of what Python calls publish.
JSON = "application/json; charset=utf-8"


@dataclass
class ScriptPublisher(Publisher):
    """Publishes into Redis from a Python process of its own.

    Attributes:
        root: The root of the release that the process runs.
        env: Its environment variables.
    """

    root: Path = Path()
    env: dict[str, str] = field(default_factory=dict)

    async def publish(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SCRIPT),
            cwd=self.root,
            env=self.env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for number in count(1):
                if self.stopped:
                    break
                sent = self.sent[number] = Sent(time.monotonic())
                process.stdin.write(f"{self.channel} {number}\n".encode())
                answer = (await process.stdout.readline()).decode()
                if not answer:
                    raise AssertionError(f"A script in {self.root} has ended.")
                second, _, tag = answer.partition(":")
                sent.accepted, sent.id = True, (int(second), int(tag))
                self.slowest = max(self.slowest, time.monotonic() - sent.at)
                await asyncio.sleep(self.pause)
            process.stdin.close()
        except asyncio.CancelledError:
            process.kill()
            raise
        finally:
            await process.wait()


@dataclass
class Listener(Subscriber):
    """A subscriber at one server, on a stream if the release there has streams.

    Attributes:
        types: The content types of the messages.
    """

    types: set[str] = field(default_factory=set)

    async def subscribe(self) -> None:
        [port] = self.ports
        last_id = None
        url = f"http://127.0.0.1:{port}/updates/{self.channel}"
        async for update in listen(url, after="0:0"):
            second, _, tag = update.id.partition(":")
            message_id = int(second), int(tag)
            gap = None
            if update.missed:
                missed, _, missed_tag = update.missed.partition(":")
                gap = int(missed), int(missed_tag)
            number = int(update.body.split()[1])
            self.types.add(update.content_type)
            self.received.append(
                Received(number, time.monotonic(), message_id, gap, last_id)
            )
            self.numbers.add(number)
            last_id = message_id
