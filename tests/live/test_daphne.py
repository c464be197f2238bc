"""The Daphne of runpushserver, compared with unmodified Daphne.

Each measure is tested with both: with it the effect is there, and without it Daphne and
Twisted still behave in the way that the measure changes. A method that is overridden
has the signature that the override was written for.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import inspect
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.servers import ROOT, ServerProcess
from tests.waiting import until

from .conftest import COMPLAINTS
from .wire import Wire, chunked, request

KINDS = ("stock", "tuned")
TUNED = ("tuned",)

SOCKET_KEY = base64.b64encode(b"sixteen bytes!!!").decode()


class Inside(ServerProcess):
    """A server that reports its state."""

    def __init__(self, kind: str, **settings: float) -> None:
        self.kind = kind
        super().__init__(
            *(sys.executable, "-m", "tests.live.insides", kind, "{port}"),
            # Braces mark placeholders in a command.
            json.dumps(settings).replace("{", "{{").replace("}", "}}"),
        )

    async def look(self) -> dict[str, Any]:
        """Return the state of the server, without the request that asks for it."""
        async with await Wire.open(self.port) as wire:
            answer = await wire.ask("GET", "/insides")
        told: dict[str, Any] = json.loads(answer.body)
        told["requests"] -= 1
        return told

    async def counted(self) -> Counter[str]:
        """Return the counts of the server."""
        return Counter((await self.look())["counted"])

    async def has_counted(self, name: str, times: int) -> bool:
        """Return whether the server has counted at least this many calls."""
        return (await self.counted())[name] >= times

    async def has(self, requests: int) -> bool:
        """Return whether the server has exactly this number of requests."""
        found: int = (await self.look())["requests"]
        return found == requests


def ends_well(server: Inside, *, complains: bool = False) -> None:
    """Stop a server, and check its exit status and its log."""
    assert server.stop(signal.SIGTERM) == 0
    said = server.log()
    assert complains == any(each in said for each in COMPLAINTS), said


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Inside]:
    """A server of the kind that the test requires."""
    with Inside(request.param) as server:
        yield server
        ends_well(server)


all_kinds = pytest.mark.parametrize("server", KINDS, indirect=True)
tuned_kinds = pytest.mark.parametrize("server", TUNED, indirect=True)


@all_kinds
async def test_answered_requests_are_freed_at_once(server: Inside) -> None:
    """A request that was answered is freed at once, not by a check every second."""
    await until(lambda: server.has(0))
    async with await Wire.open(server.port) as wire:
        for _ in range(20):
            assert (await wire.ask("GET", "/small")).body == b"small"
        assert await server.has(0) == (server.kind != "stock")


@all_kinds
async def test_idle_connection_has_no_timer_of_its_own(server: Inside) -> None:
    """An idle connection has no timer of its own; in unmodified Daphne it has one."""
    before = (await server.look())["timers"]
    wires = [await Wire.open(server.port) for _ in range(50)]
    for wire in wires:
        assert (await wire.ask("GET", "/small")).status == 200
    timers = (await server.look())["timers"] - before
    # One of the server's other timers may end meanwhile.
    assert 0 <= (50 if server.kind == "stock" else 0) - timers <= 1


@all_kinds
async def test_unneeded_log_lines_are_not_formatted(server: Inside) -> None:
    """A log line that is not needed is not formatted; in unmodified Daphne it is."""
    before = await server.counted()
    async with await Wire.open(server.port) as wire:
        for _ in range(10):
            assert (await wire.ask("GET", "/small")).status == 200
    lines = (await server.counted() - before)["lines"]
    # The request for the counts has a line, too.
    assert lines == (11 if server.kind == "stock" else 0)


@all_kinds
async def test_response_is_one_write(server: Inside) -> None:
    """A response is one write, at once; unmodified Daphne waits for the event loop."""
    before = await server.counted()
    async with await Wire.open(server.port) as wire:
        for _ in range(10):
            assert (await wire.ask("GET", "/small")).status == 200
    counted = await server.counted() - before
    assert counted["writeSomeData"] == 11
    assert ("startWriting" in counted) == (server.kind == "stock")


@all_kinds
async def test_forms_are_not_parsed(server: Inside) -> None:
    """A form in a body is not parsed; in unmodified Daphne, Twisted parses it."""
    await until(lambda: server.has(0))
    async with await Wire.open(server.port) as wire:
        form = "Content-Type: application/x-www-form-urlencoded"
        answer = await wire.ask("POST", "/echo", form, body=b"a=1&b=2")
        assert answer.body == b"a=1&b=2"
    counted = await server.counted()
    assert counted["forms"] == (server.kind == "stock")


@all_kinds
async def test_event_loop_is_that_of_asyncio(server: Inside) -> None:
    """The event loop is asyncio's, even if uvloop is installed."""
    assert importlib.util.find_spec("uvloop")
    assert (await server.look())["loop"].startswith("asyncio")


@pytest.mark.parametrize("kind", KINDS)
async def test_held_requests_are_not_checked_for_timeouts(kind: str) -> None:
    """Held requests are not checked for timeouts; unmodified Daphne checks them all."""
    with Inside(kind, lonely=0.1, checks=0.1) as server:
        held = await Wire.open(server.port)
        await held.send(request("GET", "/hold"))
        for cancelled in range(4):
            # The check that runs at the same interval cancels the application.
            async with await Wire.open(server.port) as lonely:
                await lonely.send(request("GET", "/lonely"))
                await until(lambda: server.has(2))
            await until(partial(server.has_counted, "cancelled", cancelled + 1))
        looks = (await server.counted())["check_timeouts"]
        assert (looks > 0) == (kind == "stock")
        ends_well(server)


async def test_idle_connections() -> None:
    """An idle connection is closed after the time limit, and no other."""
    with Inside("tuned", idle=0.3) as server:
        held = await Wire.open(server.port)
        await held.send(request("GET", "/hold"))
        silent = await Wire.open(server.port)
        half = await Wire.open(server.port)
        await half.send(b"GET /small HTT")
        answered = await Wire.open(server.port)
        assert (await answered.ask("GET", "/small")).status == 200
        for wire in (silent, half, answered):
            assert await wire.rest() == b""
        assert await server.has(1)
        assert not held.reader.at_eof()
        ends_well(server)


async def test_application_that_outlives_its_client_is_cancelled() -> None:
    """An application that continues after its client left is cancelled in the end."""
    with Inside("tuned", lonely=0.1, checks=0.1) as server:
        for _ in range(3):
            async with await Wire.open(server.port) as wire:
                await wire.send(request("GET", "/lonely"))
                assert not await server.has(0)
        await until(lambda: server.has(0))
        assert server.log().count("because its client disconnected long ago") == 3
        ends_well(server)


@pytest.mark.parametrize("kind", TUNED)
async def test_stopping_server_waits_for_cancelled_requests(kind: str) -> None:
    """A server that stops waits until all requests that it cancels have ended."""
    with Inside(kind) as server:
        half = await Wire.open(server.port)
        await half.send(b"GET /small HTTP/1.1\r\nHo")
        wires = [await Wire.open(server.port) for _ in range(20)]
        for wire in wires:
            await wire.send(request("GET", "/hold"))
        await until(lambda: server.has(21))
        server.process.send_signal(signal.SIGTERM)
        for wire in wires:
            answer = await wire.answer()
            assert (answer.status, answer.body) == (503, b"stopping")
        assert server.process.wait(20) == 0


async def test_failing_application_is_logged() -> None:
    """An application that fails is logged, and its response is 500 or cut off."""
    with Inside("tuned") as server:
        async with await Wire.open(server.port) as wire:
            assert (await wire.ask("GET", "/fail")).status == 500
            assert (await wire.ask("GET", "/small")).body == b"small"
            await wire.send(request("GET", "/fail-late"))
            assert (await wire.rest()).endswith(b"first")
        async with await Wire.open(server.port) as wire:
            await wire.send(request("GET", "/text"))
            assert await wire.rest() == b""
        await until(lambda: server.has(0))
        said = server.log()
        assert said.count("ValueError: before the answer") == 1
        assert said.count("ValueError: in the answer") == 1
        assert said.count("TypeError: ") == 1
        ends_well(server, complains=True)


@tuned_kinds
async def test_several_tasks_may_receive(server: Inside) -> None:
    """Several tasks of an application may receive, even if one is cancelled."""
    async with await Wire.open(server.port) as wire:
        await wire.send(request("GET", "/share"))
        assert b"shared" in await wire.reader.readuntil(b"shared")
    await until(partial(server.has_counted, "shared", 1))


@tuned_kinds
async def test_pipelining(server: Inside) -> None:
    """Pipelined requests are answered in order, even if the last one is invalid."""
    async with await Wire.open(server.port) as wire:
        small = request("GET", "/small")
        await wire.send(
            small
            + small
            + request("POST", "/echo", "Expect: 100-continue", "Content-Length: 4")
        )
        assert (await wire.answer()).body == b"small"
        assert (await wire.answer()).body == b"small"
        assert (await wire.answer("HEAD")).status == 100
        await wire.send(b"body" + small + b"nonsense\r\n\r\n")
        assert (await wire.answer()).body == b"body"
        assert (await wire.answer()).body == b"small"
        assert (await wire.rest()).startswith(b"HTTP/1.1 400 ")


@tuned_kinds
async def test_bodies_of_any_size(server: Inside) -> None:
    """Bodies of any size, chunked or not, arrive whole in both directions."""
    async with await Wire.open(server.port) as wire:
        for size in (0, 1, 8191, 8192, 8193, 300_000):
            body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            assert (await wire.ask("POST", "/echo", body=body)).body == body
        await wire.send(request("POST", "/echo", "Transfer-Encoding: chunked"))
        await wire.send(chunked(b"some", b"more"))
        assert (await wire.answer()).body == b"somemore"


@tuned_kinds
async def test_large_response_to_a_slow_reader(server: Inside) -> None:
    """A response that is larger than the socket's buffer arrives whole and in order."""
    async with await Wire.open(server.port) as wire:
        await wire.send((request("GET", "/large") + request("GET", "/small")) * 2)
        for _ in range(2):
            assert len((await wire.answer()).body) == 10_000_000
            assert (await wire.answer()).body == b"small"


@tuned_kinds
async def test_parts_of_a_response_are_sent_at_once(server: Inside) -> None:
    """Each part of an answer is sent when the application sends it."""
    async with await Wire.open(server.port) as wire:
        await wire.send(request("GET", "/parts"))
        assert b"200" in await wire.reader.readuntil(b"\r\n\r\n")
        assert await wire.reader.readuntil(b"first")
    await until(lambda: server.has(0))


@tuned_kinds
async def test_connection_without_keepalive_is_closed(server: Inside) -> None:
    """Without keep-alive, a connection is closed after the response, not before."""
    for ask in (
        b"GET /large HTTP/1.0\r\n\r\n",
        request("GET", "/large", "Connection: close"),
    ):
        async with await Wire.open(server.port) as wire:
            await wire.send(ask)
            assert len((await wire.answer()).body) == 10_000_000
            assert await wire.rest() == b""


@tuned_kinds
async def test_disconnected_clients_leave_nothing(server: Inside) -> None:
    """Nothing is left of clients that disconnect, in whatever state they were."""
    for data in (
        b"GET /sm",
        request("POST", "/echo", "Content-Length: 9") + b"half",
        request("GET", "/hold"),
        request("GET", "/large"),
        request("GET", "/hold") * 3,
    ):
        wire = await Wire.open(server.port)
        await wire.send(data)
        await server.look()
        wire.reset()
    await until(lambda: server.has(0))


@tuned_kinds
async def test_websockets(server: Inside) -> None:
    """A WebSocket is accepted, counted as a request, and forgotten when it ends."""
    async with await Wire.open(server.port) as wire:
        await wire.send(
            request(
                *("GET", "/socket", "Upgrade: websocket", "Connection: Upgrade"),
                *("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {SOCKET_KEY}"),
            )
        )
        head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert await server.has(1)
    await until(lambda: server.has(0))


SIGNATURES = """
daphne.http_protocol:HTTPFactory.__init__ (self, server)
daphne.http_protocol:HTTPFactory.buildProtocol (self, addr)
daphne.http_protocol:HTTPFactory.log (self, request)
daphne.http_protocol:WebRequest.__init__ (self, *args, **kwargs)
daphne.http_protocol:WebRequest.gotLength (self, length)
daphne.http_protocol:WebRequest.handleContentChunk (self, data)
daphne.http_protocol:WebRequest.handle_reply (self, message)
daphne.server:Server.application_checker (self)
daphne.server:Server.create_application (self, protocol, scope)
daphne.server:Server.handle_reply (self, protocol, message)
daphne.server:Server.kill_all_applications (self)
daphne.server:Server.listen_success (self, port)
daphne.server:Server.protocol_connected (self, protocol)
daphne.server:Server.protocol_disconnected (self, protocol)
daphne.server:Server.run (self)
daphne.server:Server.timeout_checker (self)
twisted.protocols.policies:TimeoutMixin.callLater (self, period, func)
twisted.protocols.policies:TimeoutMixin.resetTimeout (self)
twisted.protocols.policies:TimeoutMixin.setTimeout (self, period)
twisted.web.http:HTTPChannel.allHeadersReceived (self)
twisted.web.http:HTTPChannel.connectionLost (self, reason)
twisted.web.http:HTTPChannel.dataReceived (self, data)
twisted.web.http:HTTPChannel.loseConnection (self)
twisted.web.http:HTTPChannel.rawDataReceived (self, data)
twisted.web.http:HTTPChannel.requestDone (self, request)
twisted.web.http:HTTPChannel.resumeProducing (self)
twisted.web.http:HTTPChannel.timeoutConnection (self)
twisted.web.http:HTTPChannel.write (self, data)
twisted.web.http:HTTPChannel.writeHeaders (self, version, code, reason, headers)
twisted.web.http:HTTPChannel.writeSequence (self, iovec)
"""


@pytest.mark.parametrize("line", SIGNATURES.split("\n")[1:-1])
def test_signatures_of_overridden_methods(line: str) -> None:
    """The overridden methods of Daphne and Twisted have the expected signatures."""
    name, _, signature = line.partition(" ")
    module, _, path = name.partition(":")
    found: Any = __import__(module, fromlist=["_"])
    for part in path.split("."):
        found = getattr(found, part)
    parameters = inspect.signature(found).parameters.values()
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    assert str(inspect.Signature(bare)) == signature


def test_daphne_and_twisted_are_not_modified() -> None:
    """Importing the tuned Daphne does not modify Daphne or Twisted."""
    script = (
        "from daphne.server import Server, HTTPFactory\n"
        "from twisted.web.http import HTTPChannel, Request\n"
        "classes = Server, HTTPFactory, HTTPChannel, Request\n"
        "before = [dict(vars(each)) for each in classes]\n"
        "import pushserver_channels.server.daphne, gc\n"
        "assert before == [dict(vars(each)) for each in classes]\n"
        "assert gc.get_freeze_count() == 0\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
