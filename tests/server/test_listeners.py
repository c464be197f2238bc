from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushserver_channels import listeners
from pushserver_channels.hub import HubRegistry
from pushserver_channels.listeners import ListenerWatch, find_listeners, read_address

from .exchanges import until

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/dev/fd"), reason="this system does not list descriptors"
)


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "CHECK_INTERVAL", 0.01)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens on any free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class Watched:
    """A watch with a count of how often it stopped the server."""

    def __init__(self, *addresses: tuple[str, int | None]) -> None:
        self.stops = 0
        self.watch = ListenerWatch(self.stop)
        for address in addresses:
            self.watch.add(address)

    async def stop(self) -> None:
        self.stops += 1


async def until_checked(watched: Watched) -> None:
    """Wait until the watch has checked twice from now on, or has stopped watching."""
    for _ in range(2):
        before = watched.watch._timer
        await until(
            lambda before=before: before is None or watched.watch._timer is not before
        )


def test_listening_sockets_are_found(listener: socket.socket, tmp_path: Path) -> None:
    """Listening sockets are found and stay open; other sockets are not found."""
    path = str(tmp_path / "socket")
    with (
        socket.socket(socket.AF_UNIX) as local,
        socket.socket() as bound,
        socket.create_connection(listener.getsockname()) as client,
    ):
        local.bind(path)
        local.listen()
        bound.bind(("127.0.0.1", 0))
        found = dict(find_listeners())
        host, port = listener.getsockname()
        assert found[listener.fileno()] == f"{host}:{port}"
        assert found[local.fileno()] == path
        for other in (bound, client):
            assert other.fileno() not in found
        accepted, _ = listener.accept()
        with accepted:
            assert client.send(b"still open") == 10


def test_other_descriptors_have_no_address(tmp_path: Path) -> None:
    """A file and a closed descriptor have no address."""
    with (tmp_path / "file").open("wb") as file:
        descriptor = file.fileno()
        assert read_address(descriptor) is None
    assert read_address(descriptor) is None


async def test_server_stops_when_its_socket_is_closed(listener: socket.socket) -> None:
    """The server is stopped once when its socket is closed, and not before."""
    watched = Watched(listener.getsockname())
    await until_checked(watched)
    assert watched.stops == 0
    listener.close()
    await until(lambda: watched.stops)
    await until_checked(watched)
    assert watched.stops == 1


async def test_reused_descriptor_does_not_replace_a_closed_socket(
    listener: socket.socket,
) -> None:
    """A new socket with the descriptor of a closed one does not replace it."""
    watched = Watched(listener.getsockname())
    with socket.create_server(("127.0.0.1", 0)) as other:
        os.dup2(other.fileno(), listener.fileno())
        await until(lambda: watched.stops)


async def test_server_with_two_sockets_stops_when_both_are_closed(
    listener: socket.socket,
) -> None:
    """A server with two sockets is stopped only when both are closed."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        watched = Watched(listener.getsockname(), other.getsockname())
        other.close()
        await until_checked(watched)
        assert watched.stops == 0
        listener.close()
        await until(lambda: watched.stops)


async def test_a_unix_socket(tmp_path: Path) -> None:
    """A Unix socket is identified by its path."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        watched = Watched((path, None))
        listener.close()
        await until(lambda: watched.stops)


async def test_other_sockets_do_not_matter(listener: socket.socket) -> None:
    """An address at which the process does not listen is not watched."""
    watched = Watched(("testserver", 80), ("testserver", None))
    listener.close()
    assert watched.watch._timer is None
    assert watched.stops == 0


async def test_forgotten_watch_stops_no_server(listener: socket.socket) -> None:
    """A watch that is forgotten does not stop the server."""
    watched = Watched(listener.getsockname())
    watched.watch.forget()
    listener.close()
    await asyncio.sleep(0)
    assert watched.watch._timer is None
    assert watched.stops == 0


async def test_servers_one_after_the_other(listener: socket.socket) -> None:
    """A server that ends does not stop the next one on the same event loop."""
    registry = HubRegistry()
    registry.get("default", listener.getsockname())
    registry.forget_listeners()
    watched = Watched(listener.getsockname())
    listener.close()
    await until(lambda: watched.stops)  # The registry would have noticed it, too.
    assert not registry.get("default").stopping
    await registry.stop()
    registry.leave()
    assert not registry.get("default").stopping
    registry.leave()


async def test_server_that_is_left_is_not_watched(listener: socket.socket) -> None:
    """A server that ends is not noticed after it was left."""
    registry = HubRegistry()
    registry.get("default", listener.getsockname())
    registry.leave()
    watched = Watched(listener.getsockname())
    listener.close()
    await until(lambda: watched.stops)
    assert not registry.get("default").stopping
    registry.leave()
