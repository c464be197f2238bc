"""nginx in front of Daphne, which by itself limits less of what one client can use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.servers import nginx
from tests.servers import LOCATIONS, ServerProcess, daphne

from .wire import Wire, chunked, publish, request, until_held

MEBIBYTE = b"x" * 2**20


@pytest.fixture(scope="module")
def behind() -> Iterator[ServerProcess]:
    """The Daphne behind nginx."""
    with daphne() as server:
        yield server


@pytest.fixture(scope="module")
def port(behind: ServerProcess) -> Iterator[int]:
    """The port of the nginx in front of Daphne."""
    conf = {"locations": LOCATIONS}
    address = f"127.0.0.1:{behind.port}"
    with nginx(conf, "--proxy", "--django", address) as server:
        yield server.port


def memory(server: ServerProcess) -> int:
    """Return the peak memory of a server, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [line] = [each for each in status.splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("encoding", ["length", "chunks"])
@pytest.mark.parametrize("path", ["/updates/{}", "/interval/{}", "/send-update/{}"])
async def test_nginx_refuses_a_too_long_body(
    behind: ServerProcess, port: int, channel_id: str, path: str, encoding: str
) -> None:
    """nginx refuses the body, and does not pass it to Daphne."""
    before = memory(behind)
    path = path.format(channel_id)
    async with await Wire.open(port) as wire:
        if encoding == "length":
            await wire.send(request("GET", path, "Content-Length: 3000000000"))
        else:
            await wire.send(request("GET", path, "Transfer-Encoding: chunked"))
            await wire.send(chunked(*[MEBIBYTE] * 20))
        assert (await wire.answer()).status == 413
    assert memory(behind) < before + 2 * 2**20


async def test_nginx_waits_for_its_client_to_read(
    behind: ServerProcess, port: int, channel_id: str
) -> None:
    """nginx requests the next message only after its client has read the last one."""
    assert await publish(port, channel_id, MEBIBYTE) == 202
    async with await Wire.open(port) as wire:
        before = memory(behind)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send(request("GET", f"/updates/{channel_id}") * 100)
        for _ in range(100):
            assert await publish(port, f"{channel_id}-other") == 202
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            assert (await wire.answer()).body == MEBIBYTE
    assert memory(behind) < before + 20 * 2**20


@pytest.mark.parametrize("how", ["end_sending", "reset"])
@pytest.mark.parametrize("size", [1_000, 17_000, 70_000])
async def test_nginx_notices_a_disconnect_behind_much_data(
    port: int, channel_id: str, size: int, how: str
) -> None:
    """nginx notices a disconnect, however much was sent behind the request."""
    async with await Wire.open(port) as wire:
        await wire.send(request("GET", f"/updates/{channel_id}"))
        await until_held(port, channel_id)
        more = request("GET", "/hello")
        await wire.send(more * (size // len(more) + 1))
        getattr(wire, how)()
        await until_held(port, channel_id, 0)
