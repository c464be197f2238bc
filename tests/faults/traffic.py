"""Publishers and subscribers that stay active during faults, and their outcome."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from itertools import count, cycle

from .clients import Answer, Client

MessageId = tuple[int, int]

#: Seconds after which a message that has not arrived is lost.
PATIENCE = 30.0


@dataclass
class Sent:
    """A message that a publisher has sent.

    Attributes:
        at: When it was sent.
        accepted: Whether the server accepted it; None if it did not respond.
        id: Its id, if it was accepted.
    """

    at: float
    accepted: bool | None = None
    id: MessageId = (0, 0)


@dataclass
class Outcome:
    """The outcome of a fault, over all channels and subscribers.

    Attributes:
        accepted: Messages that a server has accepted.
        lost: Accepted, but not received by a subscriber.
        announced: Lost messages that are named in a ``Push-Gap`` of the subscriber.
        late: Those announced only after the subscriber had received younger ones.
        doubled: Received twice.
        reordered: Received after one that was published later.
        refused: Messages to which the server responded with 503.
        blunt: Other responses to publishers: another status, a 503 without
            ``Retry-After``, or none at all.
        published: Refused, but received by a subscriber.
        slowest: The longest time that a publisher waited for a response, in seconds.
        resumed: Seconds until each subscriber has received a message that was sent
            after the fault.
    """

    accepted: int = 0
    lost: int = 0
    announced: int = 0
    late: int = 0
    doubled: int = 0
    reordered: int = 0
    refused: int = 0
    blunt: int = 0
    published: int = 0
    slowest: float = 0.0
    resumed: float = 0.0


@dataclass
class Publisher:
    """Numbers its messages and sends each once, to one server after the other.

    Attributes:
        channel: Where it publishes; it is the channel's only publisher.
        ports: Where the servers listen.
        pause: Seconds between two messages.
        sent: The messages it has sent, by number.
    """

    channel: str
    ports: list[int]
    pause: float
    sent: dict[int, Sent] = field(default_factory=dict)
    blunt: int = 0
    slowest: float = 0.0
    stopped: bool = False

    async def publish(self) -> None:
        """Publish until the publisher is stopped."""
        client = Client()
        ports = cycle(self.ports)
        path = f"/send-update/{self.channel}"
        for number in count(1):
            if self.stopped:
                break
            sent = self.sent[number] = Sent(time.monotonic())
            body = f"{self.channel} {number}".encode()
            headers = {"Accept": "application/json"}
            try:
                answer = await client.ask(next(ports), "POST", path, headers, body)
                self._note(sent, answer)
            except ConnectionError:
                self.blunt += 1
            self.slowest = max(self.slowest, time.monotonic() - sent.at)
            await asyncio.sleep(self.pause)
        client.close()

    def _note(self, sent: Sent, answer: Answer) -> None:
        sent.accepted = answer.status in (201, 202)
        if sent.accepted:
            # This is the only publisher of its channel, so the last message is its own.
            second, tag = json.loads(answer.body)["last_message_id"].split(":")
            sent.id = (int(second), int(tag))
        elif answer.status != 503 or "retry-after" not in answer.headers:
            self.blunt += 1

    @property
    def accepted(self) -> list[int]:
        return [number for number, sent in self.sent.items() if sent.accepted]


@dataclass(frozen=True)
class Received:
    """A message as a subscriber received it.

    Attributes:
        number: The number that its publisher gave it.
        at: When it was received.
        id: Its id.
        gap: The value of ``Push-Gap``, or None.
        after: The id that the subscriber had sent.
    """

    number: int
    at: float
    id: MessageId
    gap: MessageId | None
    after: MessageId | None


@dataclass
class Subscriber:
    """Polls a channel for the next message, at one server after the other.

    Attributes:
        channel: What it subscribes to.
        ports: Where the servers listen.
        retry: Seconds until it tries again, approximately.
        nap: Seconds for which it pauses after each tenth message.
        received: The messages it has received, in order.
    """

    channel: str
    ports: list[int]
    retry: float
    nap: float = 0.0
    received: list[Received] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)

    async def subscribe(self) -> None:
        """Subscribe until the task is cancelled."""
        client = Client()
        headers: dict[str, str] = {}
        last_id = None
        try:
            for port in cycle(self.ports):
                try:
                    answer = await client.ask(
                        port, "GET", f"/updates/{self.channel}", headers
                    )
                except ConnectionError:
                    await asyncio.sleep(self.retry * random.uniform(0.5, 1.5))
                    continue
                if answer.status != 200:
                    await asyncio.sleep(self.retry * random.uniform(0.5, 1.5))
                    continue
                message_id = _read_id(answer)
                gap = answer.headers.get("push-gap")
                number = int(answer.body.split()[1])
                self.received.append(
                    Received(
                        number,
                        time.monotonic(),
                        message_id,
                        None if gap is None else _parse_id(gap),
                        last_id,
                    )
                )
                self.numbers.add(number)
                if self.nap and len(self.received) % 10 == 0:
                    await asyncio.sleep(self.nap)
                last_id = message_id
                headers = {
                    "If-Modified-Since": answer.headers["last-modified"],
                    "If-None-Match": answer.headers["etag"],
                }
        finally:
            client.close()


def _read_id(answer: Answer) -> MessageId:
    date = parsedate_to_datetime(answer.headers["last-modified"])
    return int(date.timestamp()), int(answer.headers["etag"])


def _parse_id(text: str) -> MessageId:
    second, tag = text.split(":")
    return int(second), int(tag)


class Traffic:
    """Channels with a publisher and subscribers each, as an async context manager.

    Args:
        ports: Where the servers listen.
        channels: The number of channels.
        subscribers: The number of subscribers of each channel.
        pause: Seconds between two messages of a publisher.
        retry: Seconds until a subscriber tries again, approximately.
        nap: Seconds for which every second subscriber pauses now and then.
    """

    def __init__(
        self,
        ports: Iterable[int],
        *,
        channels: int = 3,
        subscribers: int = 2,
        pause: float = 0.02,
        retry: float = 0.05,
        nap: float = 0.3,
    ) -> None:
        names = [f"channel-{number}" for number in range(channels)]
        ports = list(ports)
        self.publishers = [Publisher(name, ports, pause) for name in names]
        self.subscribers = [
            # The subscribers start at different servers.
            Subscriber(name, _rotated(ports, number), retry, nap * (number % 2))
            for name in names
            for number in range(subscribers)
        ]
        self.fault_ended = 0.0

    def count_attempts(self) -> list[int]:
        """Return how many messages each publisher has sent, accepted or not."""
        return [len(each.sent) for each in self.publishers]

    async def __aenter__(self) -> Traffic:
        loop = asyncio.get_running_loop()
        self._subscribing = [
            loop.create_task(each.subscribe()) for each in self.subscribers
        ]
        self._publishing = [
            loop.create_task(each.publish()) for each in self.publishers
        ]
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks = {*self._subscribing, *self._publishing}
        while tasks:
            for task in tasks:
                task.cancel()
            # Before Python 3.12, wait_for() may return a result that came at the time
            # of a cancellation, and the task goes on.
            _, tasks = await asyncio.wait(tasks, timeout=0.1)

    async def flow(self, messages: int) -> None:
        """Return when each subscriber has received this number of further messages."""
        before = {id(each): len(each.received) for each in self.subscribers}
        await self._until(
            lambda: all(
                len(each.received) >= before[id(each)] + messages
                for each in self.subscribers
            )
        )

    def end_fault(self) -> None:
        """Record that the fault is over; servers may refuse messages for a while."""
        self.fault_ended = time.monotonic()

    async def resume(self) -> float:
        """Return the seconds until all subscribers have received a new message."""
        await self._until(
            lambda: all(
                self._first_after(each) is not None for each in self.subscribers
            )
        )
        firsts = [self._first_after(each) or 0.0 for each in self.subscribers]
        return max(firsts) - self.fault_ended

    async def end(self) -> None:
        """Stop publishing and wait until the last messages have arrived."""
        for publisher in self.publishers:
            publisher.stopped = True
        await asyncio.gather(*self._publishing)
        await self._until(self._has_all, fails=False)

    def outcome(self, resumed: float) -> Outcome:
        """Return the outcome for all messages."""
        outcome = Outcome(resumed=resumed)
        publishers = {each.channel: each for each in self.publishers}
        for publisher in self.publishers:
            answers = [each.accepted for each in publisher.sent.values()]
            outcome.accepted += answers.count(True)
            outcome.refused += answers.count(False)
            outcome.blunt += publisher.blunt
            outcome.slowest = max(outcome.slowest, publisher.slowest)
        for subscriber in self.subscribers:
            self._add(outcome, subscriber, publishers[subscriber.channel])
        return outcome

    def _add(
        self, outcome: Outcome, subscriber: Subscriber, publisher: Publisher
    ) -> None:
        newest = 0
        seen: set[int] = set()
        received = subscriber.received
        for each in received:
            if each.number in seen:
                outcome.doubled += 1
            elif each.number < newest:
                outcome.reordered += 1
            seen.add(each.number)
            newest = max(newest, each.number)
        for number, sent in publisher.sent.items():
            if sent.accepted is False and number in seen:
                outcome.published += 1
            if sent.accepted and number not in seen:
                outcome.lost += 1
                if _is_announced(sent, subscriber):
                    outcome.announced += 1
                elif any(each.gap and each.number > number for each in received):
                    outcome.late += 1

    def _first_after(self, subscriber: Subscriber) -> float | None:
        """Return when a subscriber first received a message sent after the fault."""
        publisher = next(
            each for each in self.publishers if each.channel == subscriber.channel
        )
        times = [
            each.at
            for each in subscriber.received
            if publisher.sent[each.number].at >= self.fault_ended
        ]
        return min(times, default=None)

    def _has_all(self) -> bool:
        publishers = {each.channel: each for each in self.publishers}
        return all(
            set(publishers[each.channel].accepted[-1:]) <= each.numbers
            for each in self.subscribers
        )

    async def _until(
        self, condition: Callable[[], bool], *, fails: bool = True
    ) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                assert not fails, "The traffic does not flow any more."
                return
            await asyncio.sleep(0.02)


def _rotated(ports: list[int], number: int) -> list[int]:
    start = number % len(ports)
    return ports[start:] + ports[:start]


def _is_announced(sent: Sent, subscriber: Subscriber) -> bool:
    """Return whether the subscriber received a gap that covers the message."""
    return any(
        each.gap is not None
        and each.after is not None
        and each.after < sent.id <= each.gap
        for each in subscriber.received
    )
