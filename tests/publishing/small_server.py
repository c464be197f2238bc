from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.conf import LazySettings

from tests.waiting import PATIENCE


def lower(headers: Message) -> dict[str, str]:
    """Return headers with lower-case names."""
    return {name.lower(): value for name, value in headers.items()}


class Answerer(BaseHTTPRequestHandler):
    """Responds to a POST with the server's configured response and records it."""

    protocol_version = "HTTP/1.1"
    # Send headers and body in one packet, or the second would wait for an ACK.
    wbufsize = -1
    server: SmallServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.requests.append((self.path, lower(self.headers), body))
        self.server.may_answer.wait(PATIENCE)
        if self.server.drops:
            self.server.drops -= 1
            self.close_connection = True
            return
        answer = self.server.answer
        self.send_response(self.server.status)
        if "Content-Length" not in self.server.headers:
            self.send_header("Content-Length", str(len(answer)))
        if self.server.echoes:
            self.send_header("Idempotency-Key", self.headers["Idempotency-Key"])
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)
        self.wfile.flush()
        if self.server.leaves:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class SmallServer(ThreadingHTTPServer):
    """A push server whose responses a test configures.

    Attributes:
        leaves: Whether it closes each connection after the response.
        echoes: Whether it sends the idempotency key back, because it recognizes it.
        drops: The number of requests after which it closes the connection, unanswered.
    """

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answerer)
        self.status = 202
        self.answer = b""
        self.headers: dict[str, str] = {}
        self.leaves = False
        self.echoes = False
        self.drops = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections: list[socket.socket] = []
        self.closed = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed += 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that reject the server's certificate."""


@contextlib.contextmanager
def serving(server: SmallServer) -> Iterator[SmallServer]:
    """Run a server in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        for connection in server.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()


def publish_to(
    host: str, settings: LazySettings, secure: bool = False, **others: Any
) -> None:
    """Set the host to which updates are published over HTTP."""
    settings.PUSH_SERVER = {
        "publisher_host": {"location": host, "secure": secure},
        "publisher": "http",
        **others,
    }
