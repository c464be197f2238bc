from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.servers import ServerProcess, daphne
from tests.waiting import until

from .conftest import COMPLAINTS
from .wire import Answer, Wire, publish, request, until_held


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file in which the site logs passthrough events."""
    path = tmp_path / "passthrough"
    path.touch()
    return path


@pytest.fixture
def stopping(log: Path) -> Iterator[ServerProcess]:
    """A server for one test, which must exit with 0 and no errors in its log."""
    with daphne(TEST_PASSTHROUGH_LOG=str(log)) as server:
        yield server
        # A second signal would end it at once, so it gets only one.
        assert server.process.wait(20) == 0
        said = server.log()
        assert not any(complaint in said for complaint in COMPLAINTS), said


async def hold(port: int, channel_id: str, *headers: str, count: int = 1) -> list[Wire]:
    """Open connections, and return them once their requests are held."""
    wires = [await Wire.open(port) for _ in range(count)]
    for wire in wires:
        await wire.send(request("GET", f"/updates/{channel_id}", *headers))
    await until_held(port, channel_id, count)
    return wires


def check_sent_away(answer: Answer) -> None:
    assert answer.status == 503
    assert answer["retry-after"] in ("1", "2", "3", "4", "5")
    assert answer["vary"]
    assert answer.body == b"The server is shutting down.\n"


async def has_ended(server: ServerProcess) -> bool:
    return server.process.poll() is not None


def heard(log: Path) -> list[tuple[str, str]]:
    """Return the passthrough events with the cookie of each."""
    told = [json.loads(line) for line in log.read_text().splitlines()]
    return [(each["event"], each["cookies"].get("id", "")) for each in told]


async def until_heard(log: Path, count: int) -> None:
    """Wait for this number of passthrough events.

    A subscriber that leaves before its subscribe event has started has no events.
    """

    async def are_heard() -> bool:
        return log.exists() and len(heard(log)) >= count

    await until(are_heard)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_held_requests_get_503(
    stopping: ServerProcess, how: signal.Signals
) -> None:
    """A server that stops answers each held request with 503 and Retry-After."""
    wires = []
    for number in range(10):
        wires += await hold(stopping.port, f"channel-{number}", count=20)
    stopping.process.send_signal(how)
    answers = [await wire.answer() for wire in wires]
    for answer in answers:
        check_sent_away(answer)
    assert len({answer["retry-after"] for answer in answers}) > 1
    for wire in wires:
        assert await wire.rest() == b""
    await until(lambda: has_ended(stopping))


async def test_server_without_held_requests_stops(stopping: ServerProcess) -> None:
    """A server without held requests stops, too."""
    async with await Wire.open(stopping.port) as wire:
        assert (await wire.ask("GET", "/hello")).status == 200
        stopping.process.send_signal(signal.SIGTERM)
        assert await wire.rest() == b""


async def test_server_without_any_request_stops(stopping: ServerProcess) -> None:
    """A server that has had no request stops, too."""
    # It listens before it handles signals.
    await until(lambda: stopping.handles(signal.SIGTERM))
    stopping.process.send_signal(signal.SIGTERM)
    await until(lambda: has_ended(stopping))


async def test_other_connections_do_not_affect_held_requests(
    stopping: ServerProcess,
) -> None:
    """Incomplete and invalid requests do not affect the response to held ones."""
    port = stopping.port
    others = [await Wire.open(port) for _ in range(7)]
    await others[0].send(b"GET /upd")
    await others[1].send(b"GET /updates/a HTTP/1.1\r\nHo")
    await others[2].send(b"POST /send-update/a HTTP/1.1\r\nContent-Length: 9\r\n\r\nab")
    await others[3].send(b"\x00" * 100)
    await others[4].send(request("GET", "/hello"))
    await others[5].send(request("GET", "/updates/\x01", "X: \x00"))
    wires = await hold(port, "a", count=50)
    others[6].reset()
    await others[5].some()
    stopping.process.send_signal(signal.SIGTERM)
    for wire in wires:
        check_sent_away(await wire.answer())
    for wire in others:
        wire.abort()
    await until(lambda: has_ended(stopping))


async def test_pipelined_long_poll_gets_503_too(stopping: ServerProcess) -> None:
    """A long poll behind a held one gets 503, too, and is not cut off."""
    async with await Wire.open(stopping.port) as wire:
        await wire.send(request("GET", "/updates/a") + request("GET", "/updates/b"))
        await until_held(stopping.port, "a")
        stopping.process.send_signal(signal.SIGTERM)
        check_sent_away(await wire.answer())
        check_sent_away(await wire.answer())


async def test_requests_held_at_shutdown_have_both_events(
    stopping: ServerProcess, log: Path
) -> None:
    """A request that is held when the server stops has both events."""
    wires = []
    for number in range(100):
        wires += await hold(stopping.port, f"channel-{number}", f"Cookie: id={number}")
    # A subscriber that leaves before its turn has no events.
    await until_heard(log, 100)
    stopping.process.send_signal(signal.SIGTERM)
    for wire in wires:
        check_sent_away(await wire.answer())
    await until(lambda: has_ended(stopping))
    events = Counter(heard(log))
    assert events == {
        (event, str(number)): 1
        for event in ("subscribe", "unsubscribe")
        for number in range(100)
    }


async def test_requests_that_end_just_before_shutdown_have_both_events(
    stopping: ServerProcess, log: Path
) -> None:
    """A request that ends just before the server stops has both events."""
    for number in range(50):
        await hold(
            *(stopping.port, f"channel-{number}"),
            *(f"Cookie: id={number}", "X-Slow: 0.05"),
        )
    await until_heard(log, 50)
    last = await hold(stopping.port, "last")
    await until_heard(log, 51)
    for number in range(50):
        assert await publish(stopping.port, f"channel-{number}") == 201
    stopping.process.send_signal(signal.SIGTERM)
    check_sent_away(await last[0].answer())
    await until(lambda: has_ended(stopping))
    events = Counter(event for event, cookie in heard(log) if cookie)
    assert events == {"subscribe": 50, "unsubscribe": 50}


async def test_server_waits_for_a_slow_view(stopping: ServerProcess, log: Path) -> None:
    """A held request gets 503 at once, and the server waits for the view.

    A request that comes meanwhile is refused or gets 503.
    """
    wires = await hold(stopping.port, "a", "X-Slow: 1")
    late = await Wire.open(stopping.port)
    assert (await late.ask("GET", "/hello")).status == 200
    stopping.process.send_signal(signal.SIGTERM)
    check_sent_away(await wires[0].answer())
    assert not await has_ended(stopping)
    await late.send(request("GET", "/updates/a"))
    check_sent_away(await late.answer())
    with suppress(OSError):
        newcomer = await Wire.open(stopping.port)
        await newcomer.send(request("GET", "/updates/a"))
        check_sent_away(await newcomer.answer())
    await until(lambda: has_ended(stopping))
    assert [event for event, _ in heard(log)] == ["subscribe", "unsubscribe"]


async def test_disconnects_during_shutdown_cause_no_error(
    stopping: ServerProcess,
) -> None:
    """Clients that disconnect while the server stops cause no error."""
    wires = await hold(stopping.port, "a", count=100)
    stopping.process.send_signal(signal.SIGTERM)
    for wire in wires:
        wire.reset()
    await until(lambda: has_ended(stopping))


async def test_delivered_messages_arrive_despite_the_stop(
    stopping: ServerProcess,
) -> None:
    """A message that was delivered according to its 201 arrives despite the stop."""
    wires = await hold(stopping.port, "a", count=50)
    status = await publish(stopping.port, "a")
    stopping.process.send_signal(signal.SIGTERM)
    answers = await asyncio.gather(*(wire.answer() for wire in wires))
    assert status == 201
    assert {answer.status for answer in answers} == {200}
