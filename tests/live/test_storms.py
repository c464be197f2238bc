"""Hundreds of clients that reset their connections, on each server."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path

import pytest

from tests.servers import ServerProcess
from tests.waiting import until

from .wire import request, subscribers

#: With this option, closing a socket resets the connection.
LINGER = struct.pack("ii", 1, 0)


@pytest.fixture
def server(each_server: ServerProcess) -> ServerProcess:
    return each_server


def processes(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in processes(int(child)))]


def open_files(server: ServerProcess) -> int:
    """Return the number of open files of a server."""
    pids = processes(server.process.pid)
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def reset_one(port: int, data: bytes) -> None:
    """Send data, and reset the connection at once."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        client.send(data)


@pytest.mark.parametrize("how", ["held", "answered", "half", "body"])
async def test_connection_resets_leave_nothing(
    server: ServerProcess, channel_id: str, how: str
) -> None:
    """A reset connection leaves no open file, no subscriber and no log line."""
    data = {
        "held": request("GET", f"/updates/{channel_id}"),
        "answered": request("GET", f"/interval/{channel_id}"),
        "half": request("GET", f"/updates/{channel_id}")[:-2],
        "body": request("POST", f"/send-update/{channel_id}", "Content-Length: 99"),
    }[how]
    reset_one(server.port, data)

    async def is_clear() -> bool:
        return await subscribers(server.port, channel_id) in (0, None)

    await until(is_clear)
    files, said = open_files(server), server.log()
    for _ in range(300):
        await asyncio.to_thread(reset_one, server.port, data)
    await until(is_clear)

    async def are_closed() -> bool:
        return open_files(server) <= files

    await until(are_closed)
    assert server.log() == said
