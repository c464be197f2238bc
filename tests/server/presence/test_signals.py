"""The signals of members who come and go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pushserver.signals import member_joined, member_left
from pushserver_channels.counters import counters
from pushserver_channels.presence import telling
from tests.server.streams import leave
from tests.waiting import until

from .visitors import Serving, come, watch


class Receiver:
    """Records the signals, each with its thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str, Any]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.fails = False

    def join(self, channel_id: str, user: str, info: Any, **others: Any) -> None:
        self._record("joined", channel_id, user, info)

    def leave(self, channel_id: str, user: str, info: Any, **others: Any) -> None:
        self._record("left", channel_id, user, info)

    def _record(self, *call: Any) -> None:
        self.threads.add(threading.get_ident())
        assert self.gate.wait(10)
        self.calls.append(call)
        if self.fails:
            raise ValueError("a fault of the site")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    member_joined.connect(receiver.join)
    member_left.connect(receiver.leave)
    yield receiver
    receiver.gate.set()
    member_joined.disconnect(receiver.join)
    member_left.disconnect(receiver.leave)


async def test_each_member_is_told_once(serve: Serving, receiver: Receiver) -> None:
    """Not for each connection, not for other visitors, and not on the event loop."""
    site = serve()
    watching = await watch(site, "room")
    first = await come(site, "room", "anna", {"name": "Anna"})
    second = await come(site, "room", "anna", {"name": "Anna"})
    other = await come(site, "room", None)
    await watching.until_here("anna", others=1)
    await leave(first, second, other)
    await watching.until_here()
    await until(lambda: len(receiver.calls) == 2)
    assert receiver.calls == [
        ("joined", "room", "anna", {"name": "Anna"}),
        ("left", "room", "anna", {"name": "Anna"}),
    ]
    assert threading.get_ident() not in receiver.threads
    await watching.end()


async def test_a_receiver_that_fails_harms_nobody(
    serve: Serving, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    site = serve()
    receiver.fails = True
    anna = await come(site, "room", "anna")
    await until(lambda: len(receiver.calls) == 1)
    await until(lambda: "a fault of the site" in caplog.text)
    await leave(anna)
    await until(lambda: len(receiver.calls) == 2)


async def test_a_receiver_that_is_slow_harms_nobody(
    serve: Serving, receiver: Receiver
) -> None:
    """Subscribers are told meanwhile, and its signals of a member come in order."""
    site = serve()
    receiver.gate.clear()
    watching = await watch(site, "room")
    for _ in range(2):
        anna = await come(site, "room", "anna")
        await watching.until_here("anna")
        await leave(anna)
        await watching.until_here()
    receiver.gate.set()
    await until(lambda: len(receiver.calls) == 4)
    assert [each[0] for each in receiver.calls] == ["joined", "left"] * 2
    await watching.end()


async def test_signals_that_are_too_many_are_counted(
    serve: Serving,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    counters.reset()
    monkeypatch.setattr(telling, "MAX_WAITING", 1)
    site = serve()
    receiver.gate.clear()
    watching = await watch(site, "room")
    visitors = [await come(site, "room", each) for each in ("anna", "bob")]
    await watching.until_here("anna", "bob")
    assert counters.limits["presence_signals"] == 1
    assert "1 signals of presence were not sent" in caplog.text
    receiver.gate.set()
    await until(lambda: len(receiver.calls) == 1)
    await leave(*visitors)
    await watching.end()
    await asyncio.sleep(0)
