from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver.publishers import PublishError
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.sockets import TimedSocket
from pushserver.updates import send_update
from tests.waiting import wait_until

from .small_server import SmallServer, publish_to


def test_silent_server_times_out(settings: LazySettings) -> None:
    """For a server that never responds, the error names the time limit."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        publish_to(host, settings, publisher_timeout=0.2)
        with pytest.raises(PublishError) as caught:
            send_update("news", {})
    assert caught.value.status is None
    assert "0.2 s" in str(caught.value)
    assert "PUSH_SERVER['publisher_timeout']" in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 202 Accepted\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 202 Accepted\r\n\r\n",
    ],
)
def test_slowly_sent_response_times_out(head: bytes, settings: LazySettings) -> None:
    """The limit is for the whole response: single bytes do not extend it."""
    pause = threading.Event()
    gave_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        publish_to(host, settings, publisher_timeout=0.3)

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while not received.endswith(b'"end"'):
                    received += connection.recv(65536)
                try:
                    connection.sendall(head)
                    # Each pause is shorter than the limit; their sum is far longer.
                    for _ in range(99):
                        pause.wait(0.1)
                        connection.sendall(b"x")
                except OSError:
                    gave_up.set()

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(PublishError, match="publisher_timeout"):
                send_update("news", "end")
        finally:
            thread.join()
    assert gave_up.is_set()


def test_unsent_update_is_reported_as_not_published(
    small: SmallServer, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update that was not sent before the deadline is reported as not published.

    This holds for a new connection and for one that was used before.
    """

    start = TimedSocket.start

    def start_late(connection: TimedSocket, deadline: Deadline) -> None:
        start(connection, deadline)
        wait_until(lambda: deadline.is_over)

    publish_to(small.host, settings, publisher_timeout=0.2)
    with monkeypatch.context() as patch:
        patch.setattr(TimedSocket, "start", start_late)
        with pytest.raises(PublishError, match="it was not published"):
            send_update("news", 1)
    publish_to(small.host, settings)
    assert send_update("news", 2)
    publish_to(small.host, settings, publisher_timeout=0.2)
    monkeypatch.setattr(TimedSocket, "start", start_late)
    with pytest.raises(PublishError, match="it was not published"):
        send_update("news", 3)
    assert [body for *_, body in small.requests] == [b"2"]


def test_time_limit_of_zero_means_no_limit(
    small: SmallServer, settings: LazySettings
) -> None:
    """A limit of 0 seconds means no limit, as in the other settings."""
    publish_to(small.host, settings, publisher_timeout=0)
    assert send_update("news", {})
    assert send_update("news", {})


def test_kept_connection_uses_the_current_time_limit(
    small: SmallServer, settings: LazySettings
) -> None:
    """A kept connection uses the time limit of the current call."""
    publish_to(small.host, settings)
    assert send_update("news", {})
    publish_to(small.host, settings, publisher_timeout=123)
    assert send_update("news", {})
    assert len(small.connections) == 1


@pytest.fixture
def deaf() -> Iterator[tuple[str, int]]:
    """An address that does not accept connections, since its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.listen(0)
        address = listener.getsockname()
        while True:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.05)
            try:
                client.connect(address)
            except TimeoutError:
                break
        yield address


def test_all_addresses_of_a_name_share_the_time_limit(
    deaf: tuple[str, int], settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four unreachable addresses of one name together take one time limit."""
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", deaf)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [address] * 4)
    publish_to("push.example", settings, publisher_timeout=0.5)
    start = time.monotonic()
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert time.monotonic() - start < 1.5
    assert "no connection within 0.5 seconds" in str(caught.value)
    assert "was not published" in str(caught.value)


def test_unreachable_first_address_leaves_time_for_the_second(
    deaf: tuple[str, int],
    small: SmallServer,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An unreachable first address leaves enough time for the second one."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        for address in (deaf, small.server_address)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    publish_to("push.example", settings, publisher_timeout=1)
    assert send_update("news", {})


def test_slow_name_resolution_times_out(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name resolution is within the limit, and blocks at most one thread."""
    release = threading.Event()
    asked: list[object] = []

    def resolve(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    publish_to("push.example", settings, publisher_timeout=0.1)
    try:
        for _ in range(3):
            with pytest.raises(PublishError, match="was not published"):
                send_update("news", {})
        assert asked == ["push.example"]
    finally:
        release.set()
