from __future__ import annotations

import gc
import json
import socket
import threading
import warnings
from collections import deque
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver.publishers import PublishError, http_exchanges
from pushserver.publishers.connections import Connections
from pushserver.updates import send_update
from tests.servers import wait_until

from .small_server import SmallServer, publish_to


@pytest.mark.parametrize("status", [202, 500])
def test_huge_response_is_read_in_part(
    small: SmallServer, settings: LazySettings, status: int
) -> None:
    """Only a part of a huge response is read, and its connection is closed."""
    small.status = status
    small.headers = {"Content-Length": str(10**30)}
    small.answer = b"x" * 1_000_000
    publish_to(small.host, settings)
    for _ in range(2):
        if status == 202:
            send_update("a", "1")
        else:
            with pytest.raises(PublishError, match="500"):
                send_update("a", "1")
    assert len(small.connections) == 2


def test_connection_is_reused(small: SmallServer, settings: LazySettings) -> None:
    """Consecutive updates use the same connection, also after an error."""
    publish_to(small.host, settings)
    for number in range(10):
        small.status = 404 if number == 5 else 202
        send_update("news", number, ignore_errors=True)
    assert [json.loads(body) for *_, body in small.requests] == list(range(10))
    assert len(small.connections) == 1


def test_concurrent_threads_do_not_share_a_connection(
    small: SmallServer, settings: LazySettings
) -> None:
    """Threads that publish at the same time do not share a connection."""
    publish_to(small.host, settings)

    def send(number: int) -> None:
        for count in range(5):
            send_update(f"news-{number}", [number, count])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = {(path, body) for path, _, body in small.requests}
    assert sent == {
        (f"/publisher/news-{number}", b"[%d, %d]" % (number, count))
        for number in range(10)
        for count in range(5)
    }
    assert len(small.connections) <= 10


def test_connection_closed_by_the_server_loses_no_update(
    small: SmallServer, settings: LazySettings
) -> None:
    """A connection that the server closes between two updates loses no update."""
    publish_to(small.host, settings)
    small.leaves = True
    for number in range(3):
        assert send_update("news", number)
        wait_until(lambda count=number + 1: small.closed == count)
    assert len(small.requests) == len(small.connections) == 3


def test_connection_close_header_is_respected(
    small: SmallServer, settings: LazySettings
) -> None:
    """A connection is not used again after a response with "Connection: close"."""
    publish_to(small.host, settings)
    small.headers = {"Connection": "close"}
    for number in range(3):
        assert send_update("news", number)
    assert len(small.requests) == len(small.connections) == 3


def test_long_idle_connection_is_replaced(
    small: SmallServer, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was idle for too long is closed and replaced."""
    publish_to(small.host, settings)
    send_update("news", 1)
    monkeypatch.setattr(http_exchanges, "MAX_IDLE", 0.0)
    send_update("news", 2)
    wait_until(lambda: small.closed == 1)
    assert len(small.connections) == 2


def test_connection_with_an_unexpected_response_is_not_used(
    small: SmallServer, settings: LazySettings
) -> None:
    """An unexpected response is not taken for that of the next update."""
    publish_to(small.host, settings)
    send_update("news", 1)
    small.connections[0].sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    receipt = send_update("news", 2)
    assert receipt is not None
    assert receipt.status == 202
    assert len(small.connections) == 2


def test_update_is_not_sent_again_after_a_lost_response(
    settings: LazySettings,
) -> None:
    """An update that may have been published is not sent twice."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        publish_to(f"127.0.0.1:{listener.getsockname()[1]}", settings)
        received: list[bytes] = []

        def hang_up() -> None:
            connection, _ = listener.accept()
            with connection:
                while not b"".join(received).endswith(b'"end"'):
                    received.append(connection.recv(65536))

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(PublishError) as caught:
            send_update("news", "end")
        thread.join()
    assert caught.value.status is None
    assert b"".join(received).count(b"POST ") == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 202 Accepted\r\n\r\nand then nothing",
        b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_failed_update_closes_its_connection(
    answer: bytes, settings: LazySettings
) -> None:
    """The connection is closed with the error, and not by the garbage collector."""
    done = threading.Event()

    def fail() -> None:
        with pytest.raises(PublishError):
            send_update("news", "end")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        publish_to(host, settings, publisher_timeout=0.2)

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while not received.endswith(b'"end"'):
                    received += connection.recv(65536)
                connection.sendall(answer)
                done.wait(30)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            gc.collect()  # Collect the objects of earlier tests first.
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fail()
                gc.collect()
        finally:
            done.set()
            thread.join()
    assert [each for each in caught if each.category is ResourceWarning] == []


class Idle:
    """An open connection."""

    is_closed = False

    def is_quiet(self) -> bool:
        return True

    def close(self) -> None:
        self.is_closed = True


class Emptied(deque[Any]):
    """Idle connections that another thread removes as soon as one is added."""

    def append(self, item: Any) -> None:
        super().append(item)
        self.clear()

    def __bool__(self) -> bool:
        return True


def test_connections_removed_by_another_thread_at_once() -> None:
    """Keeping and closing connections works while another thread removes them.

    The update has been published at that time, so it must not raise an error.
    """
    connections: Connections[Idle] = Connections()
    connections._idle["server"] = Emptied()
    connections.keep("server", Idle(), 1.0)
    connections.close()


def test_closing_while_another_thread_keeps_a_connection() -> None:
    """All idle connections are closed while another thread keeps a new one."""
    connections: Connections[Idle] = Connections()

    class Keeping(Idle):
        def close(self) -> None:
            super().close()
            connections.keep("another server", Idle(), 1.0)

    idle = [Keeping(), Idle()]
    for number, each in enumerate(idle):
        connections.keep(number, each, 1.0)
    connections.close()
    assert all(each.is_closed for each in idle)
