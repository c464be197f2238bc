"""What the doctor says of streams that proxies buffer, cut or refuse."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from pushserver.conf import read_settings
from pushserver.doctor import streams
from pushserver.doctor.findings import Failure, NotApplicable, NotChecked
from pushserver.doctor.locations import find_locations, find_stream_locations
from pushserver.doctor.probe import Probe
from pushserver.doctor.requests import Response

from .doctor import CONF

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
EVENT = b"data: " + streams.MESSAGE + b"\n\n"
FRAME = bytes([129, len(streams.MESSAGE)]) + streams.MESSAGE


class SilentProbe(Probe):
    """A probe that publishes nothing."""

    def new_channel(self, channel_id: str | None = None) -> str:
        return "a"

    def publish(self, channel_id: str, data: Any = None) -> None:
        pass

    def require_response(self) -> Any:
        return None

    def message_id_headers(self, response: Response) -> dict[str, str]:
        return {}


#: Seconds for what does not come, and for what comes however busy the machine is.
IN_VAIN, LONG = 1.0, 20.0


def make_probe(port: int, patience: float = LONG, **location: Any) -> SilentProbe:
    """Return a probe of a server on this machine."""
    publisher, subscriber, *_ = CONF["locations"]
    conf = {**CONF, "locations": [publisher, {**subscriber, **location}]}
    settings = read_settings(conf)
    locations = find_locations(settings)
    return SilentProbe(
        *(f"http://127.0.0.1:{port}", *locations, settings.store["default"]),
        patience=patience,
        delay=0 if patience == IN_VAIN else LONG,
        streams=find_stream_locations(settings, locations[0]),
    )


@contextmanager
def answering(*answers: bytes, ends: bool = False) -> Iterator[int]:
    """Answer each connection with bytes, and keep it open; yield the port."""
    connections = []

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            for number in range(10):
                connection, _ = server.accept()
                connections.append(connection)
                connection.recv(9999)
                connection.sendall(answers[min(number, len(answers) - 1)])
                if ends:
                    connection.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


@pytest.mark.parametrize(
    ("answer", "ends", "words"),
    [
        (b"", False, "Nothing of a stream arrives in 1 s"),
        (EVENTS, False, "Only the head of a stream arrives in 1 s"),
        (EVENTS + b"retry: 1", False, "Only a part of a stream arrives in 1 s"),
        (EVENTS, True, "A stream is cut after 0 s, before its first message"),
        (EVENTS + EVENT, False, "but not the next: no answer in time"),
        (EVENTS + EVENT, True, "but not the next: the connection was closed"),
        (EVENTS.replace(b"200", b"502"), False, "server-sent events gets 502"),
        (b"HTTP/1.1 200 OK\r\n\r\n", False, "gets an answer (without a Content-Type)"),
    ],
)
def test_buffered_or_cut_stream_is_reported(
    answer: bytes, ends: bool, words: str
) -> None:
    """What is buffered or cut on the way is told, and what to write in nginx."""
    with (
        answering(answer, ends=ends) as port,
        pytest.raises(Failure) as failure,
    ):
        streams.check_stream(make_probe(port, LONG if ends else IN_VAIN))
    assert words in failure.value.text
    assert failure.value.advice
    if "arrives in" in words:
        assert "proxy_buffering off" in failure.value.advice


@pytest.mark.parametrize(
    ("answers", "words", "advice"),
    [
        ([b"HTTP/1.1 400 Bad\r\n\r\n"], "gets 400", "proxy_set_header Upgrade"),
        ([b"HTTP/1.1 403 No\r\n\r\n"], "gets 403", "proxy_set_header Upgrade"),
        (
            [b"HTTP/1.1 403 No\r\n\r\n", UPGRADED],
            "takes http://127.0.0.1:",
            "SECURE_PROXY_SSL_HEADER",
        ),
        ([b""], "gets no answer in time", "proxy_set_header Upgrade"),
        ([UPGRADED], "but gets no message: no answer", "proxy_set_header Upgrade"),
        ([UPGRADED + b"\x88\x02\x11\x38"], "with the code 4408", ""),
        ([UPGRADED + FRAME], "but not the next: no answer in time", ""),
        ([UPGRADED + b"\x81\x7f" + b"\xff" * 8], "the connection was closed", ""),
    ],
)
def test_refused_upgrade_is_reported(
    answers: list[bytes], words: str, advice: str
) -> None:
    """A refused upgrade is told, and the headers that a proxy has to pass on."""
    with answering(*answers) as port, pytest.raises(Failure) as failure:
        streams.check_websocket(make_probe(port, IN_VAIN))
    assert words in failure.value.text
    assert advice in failure.value.advice


def test_ping_is_answered() -> None:
    """A ping is answered, and a message after it is read."""
    ping = b"\x89\x01a"
    with answering(UPGRADED + ping + FRAME + ping + FRAME) as port:
        said = streams.check_websocket(make_probe(port))
    assert said.startswith("A message reaches a WebSocket")


@pytest.mark.parametrize(
    ("check", "head"),
    [
        (streams.check_stream_timeout, EVENTS),
        (streams.check_websocket_timeout, UPGRADED),
    ],
)
def test_cut_idle_stream_is_reported_with_its_seconds(check: Any, head: bytes) -> None:
    """An idle stream that is cut is told with the seconds, and one that stays is not.

    The first request is the poll whose message a stream continues.
    """
    poll = b"HTTP/1.1 304 Not Modified\r\n\r\n"
    with answering(poll, head) as port:
        assert "1.2 s and more" in check(make_probe(port, keep_alive=0.2))
    with answering(poll, head, ends=True) as port, pytest.raises(Failure) as failure:
        check(make_probe(port))
    assert "was cut after 0 s (the connection was closed)" in failure.value.text
    assert "proxy_read_timeout" in failure.value.advice
    with answering(poll) as port, pytest.raises(NotChecked, match="304"):
        check(make_probe(port))


def test_only_allowed_transports_are_examined() -> None:
    """Only what the settings allow is examined."""
    probe = make_probe(9, transports=["poll", "eventsource"])
    assert list(probe.streams) == ["eventsource"]
    for check in (streams.check_websocket, streams.check_websocket_timeout):
        with pytest.raises(NotApplicable, match="'websocket'"):
            check(probe)


def test_location_without_polls_is_not_used() -> None:
    """A location without polls is not the one at which messages are received."""
    first, _, second, *_, idle = CONF["locations"]
    found = find_locations(read_settings({"locations": [first, idle, second]}))
    assert found[1].url.pattern == second["url"]
    with pytest.raises(ValueError, match="receives by polls"):
        find_locations(read_settings({"locations": [first, idle]}))
