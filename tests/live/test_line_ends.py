"""Request heads with LF as line ends, which a server may accept or refuse."""

from __future__ import annotations

import pytest

from tests.servers import ServerProcess

from .wire import Wire, request, subscribers

#: The status from each server. Daphne waits for CRLF.
STATUSES = {
    "daphne": None,
    "runpushserver": 400,
    "h11": 202,
    "httptools": 400,
    "granian": 202,
}


@pytest.mark.parametrize(
    "first_end", [b"\r\n", b"\n"], ids=["the other lines", "all lines"]
)
async def test_bare_lf_smuggles_no_request(
    kind: str, each_server: ServerProcess, channel_id: str, first_end: bytes
) -> None:
    """A message is published or refused, and no part of it is another request."""
    data = request("POST", f"/send-update/{channel_id}", body=b"news")
    data = data.replace(b"\r\n", b"\n").replace(b"\n", first_end, 1)
    status = STATUSES[kind]
    async with await Wire.open(each_server.port) as wire:
        await wire.send(data)
        if status is None:
            await wire.send(b"\r\n\r\n")
            status = 400
        assert (await wire.answer()).status == status
        if status == 400:
            assert await wire.rest() == b""
    count = await subscribers(each_server.port, channel_id)
    assert count == (0 if status == 202 else None)


async def test_cr_and_lf_may_arrive_separately(
    each_server: ServerProcess, channel_id: str
) -> None:
    """CR and LF may arrive separately."""
    data = request("POST", f"/send-update/{channel_id}", body=b"news")
    async with await Wire.open(each_server.port) as wire:
        for byte in data:
            await wire.send(bytes([byte]))
        assert (await wire.answer()).status == 202
