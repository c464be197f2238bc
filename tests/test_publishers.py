from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime
import gc
import ipaddress
import json
import os
import pickle
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured

from pushserver import channel_urls, publishers
from pushserver.publishers import (
    HTTPPublisher,
    PublishError,
    Receipt,
    Update,
    get_publisher,
    http,
)
from pushserver.updates import asend_update, publisher_url, send_update
from pushserver_channels.hub import hubs
from pushserver_channels.publishers import DirectPublisher

from .servers import LOCATIONS, ROOT, ServerProcess, daphne, free_port, wait_until

INFO = {"messages": 1, "requested": 0, "subscribers": 2, "last_message_id": "17:0"}


def lower(headers: Message) -> dict[str, str]:
    """Return headers by their names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


class Answerer(BaseHTTPRequestHandler):
    """Answers a POST as its server is told, and writes down what came."""

    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: two would wait for each other's confirmation.
    wbufsize = -1
    server: SmallServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.requests.append((self.path, lower(self.headers), body))
        answer = self.server.answer
        self.send_response(self.server.status)
        if "Content-Length" not in self.server.headers:
            self.send_header("Content-Length", str(len(answer)))
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
    """A push server that answers what a test wants."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answerer)
        self.status = 202
        self.answer = b""
        self.headers: dict[str, str] = {}
        self.leaves = False
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
        """Say nothing of clients that do not like its certificate."""


@contextlib.contextmanager
def serving(server: SmallServer) -> Iterator[SmallServer]:
    """Let a server answer in a thread."""
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


@pytest.fixture
def small() -> Iterator[SmallServer]:
    """A small push server that answers 202."""
    with serving(SmallServer()) as server:
        yield server


@pytest.fixture(autouse=True)
def publisher(monkeypatch: pytest.MonkeyPatch) -> HTTPPublisher:
    """A publisher of the test's own, without connections of earlier tests."""
    publisher = HTTPPublisher()
    monkeypatch.setattr(publishers, "_http_publisher", lambda: publisher)
    return publisher


def publish_to(
    host: str, settings: LazySettings, secure: bool = False, **others: Any
) -> None:
    """Let updates go to a host, over HTTP."""
    settings.PUSH_SERVER = {
        "publisher_host": {"location": host, "secure": secure},
        "publisher": "http",
        **others,
    }


@pytest.mark.parametrize("status", [202, 500])
def test_a_huge_answer(small: SmallServer, settings: LazySettings, status: int) -> None:
    """Of an answer without an end some is read, and its connection is let go."""
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


def test_an_update_is_one_post(small: SmallServer, settings: LazySettings) -> None:
    """What is sent is a plain POST that any push server of the protocol takes."""
    publish_to(small.host, settings)
    send_update("käse/a", {"a": "ä"})
    [(path, headers, body)] = small.requests
    assert path == "/publisher/k%C3%A4se%2Fa"
    assert body == b'{"a": "\\u00e4"}'
    assert headers["content-length"] == str(len(body))
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["host"] == small.host
    assert headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("status", "delivered"), [(200, False), (201, True), (202, False)]
)
@pytest.mark.parametrize(
    ("answer", "info"),
    [
        (json.dumps(INFO).encode(), INFO),
        (b'{"messages": 1, "requested": 0, "subscribers": 2 }\r\n', {**INFO}),
        (b"", None),
        (b"queued messages: 1\r\n", None),
        (b"[1, 2]", None),
        (b"\xff\xfe\x00", None),
        (b"[" * 100_000, None),
    ],
    ids=["all", "some", "nothing", "plain", "list", "binary", "deep"],
)
def test_each_good_status_is_a_receipt(
    status: int,
    delivered: bool,
    answer: bytes,
    info: dict[str, object] | None,
    small: SmallServer,
    settings: LazySettings,
) -> None:
    """200, 201 and 202 are all good, with channel info or without or with nonsense."""
    publish_to(small.host, settings)
    small.status, small.answer = status, answer
    receipt = send_update("news", {})
    assert receipt is not None
    assert receipt.status == status
    assert receipt.delivered is delivered
    if info is None:
        assert receipt.info is None
    else:
        assert receipt.info is not None
        assert receipt.info.items() <= info.items()
        assert receipt.info["messages"] == 1


@pytest.mark.parametrize("status", [204, 301, 400, 403, 404, 410, 413, 500, 503])
def test_another_status_is_an_error(
    status: int, small: SmallServer, settings: LazySettings
) -> None:
    """The error has the status, the URL and the sentence that the server wrote."""
    publish_to(small.host, settings)
    small.status = status
    if status != 204:
        small.answer = b"The reason is \xc3\xa4."
        small.headers = {"Content-Type": "text/plain; charset=utf-8"}
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert caught.value.status == status
    assert caught.value.url == f"http://{small.host}/publisher/news"
    assert str(status) in str(caught.value)
    assert ("The reason is ä." in str(caught.value)) is (status != 204)


def test_a_page_for_people_is_not_quoted(
    small: SmallServer, settings: LazySettings
) -> None:
    """Of an error page the status is told, not its markup; of a long text the start."""
    publish_to(small.host, settings)
    small.status, small.answer = 500, b"<html>Oops</html>"
    small.headers = {"Content-Type": "text/html"}
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert "html" not in str(caught.value)
    small.answer = b"x" * 100_000
    small.headers = {"Content-Type": "text/plain"}
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert len(str(caught.value)) < 1000


def test_a_real_server_says_why_it_refuses(settings: LazySettings) -> None:
    """403, 404 and 413 of a push server are errors with its own sentence."""
    closed = [
        {"type": "publisher", "prefix": "/foreign/", "allow_from": ["192.0.2.1"]},
        {"type": "publisher", "prefix": "/closed/", "create_on_post": False},
        {"type": "publisher", "prefix": "/small/", "max_message_size": 5},
    ]
    with daphne({"locations": closed}) as server:
        for prefix, status, sentence in (
            ("/foreign/", 403, "Publishing is not allowed from this address."),
            ("/closed/", 404, "There is no such channel."),
            ("/small/", 413, "A message has at most 5 bytes here."),
        ):
            location = {"type": "publisher", "prefix": prefix}
            publish_to(f"127.0.0.1:{server.port}", settings, locations=[location])
            with pytest.raises(PublishError) as caught:
                send_update("news", "too long")
            assert caught.value.status == status
            assert sentence in str(caught.value)


def test_a_connection_is_kept(small: SmallServer, settings: LazySettings) -> None:
    """Updates one after another go over one connection, also after an error."""
    publish_to(small.host, settings)
    for number in range(10):
        small.status = 404 if number == 5 else 202
        send_update("news", number, ignore_errors=True)
    assert [json.loads(body) for *_, body in small.requests] == list(range(10))
    assert len(small.connections) == 1


def test_each_of_several_at_once_has_a_connection(
    small: SmallServer, settings: LazySettings
) -> None:
    """Updates sent by several threads at once do not share a connection."""
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


def test_a_connection_that_the_server_closed_is_not_used(
    small: SmallServer, settings: LazySettings
) -> None:
    """A server that hangs up between two updates costs no update."""
    publish_to(small.host, settings)
    small.leaves = True
    for number in range(3):
        assert send_update("news", number)
        wait_until(lambda count=number + 1: small.closed == count)
    assert len(small.requests) == len(small.connections) == 3


def test_a_connection_that_the_server_announced_to_close_is_not_used(
    small: SmallServer, settings: LazySettings
) -> None:
    """ "Connection: close" of an answer is heeded."""
    publish_to(small.host, settings)
    small.headers = {"Connection": "close"}
    for number in range(3):
        assert send_update("news", number)
    assert len(small.requests) == len(small.connections) == 3


def test_an_idle_connection_is_not_used_for_ever(
    small: SmallServer, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was idle for too long is closed and replaced."""
    publish_to(small.host, settings)
    send_update("news", 1)
    monkeypatch.setattr(http, "MAX_IDLE", 0.0)
    send_update("news", 2)
    wait_until(lambda: small.closed == 1)
    assert len(small.connections) == 2


def test_a_connection_with_an_unasked_answer_is_not_used(
    small: SmallServer, settings: LazySettings
) -> None:
    """What a server says unasked is not taken for the answer to the next update."""
    publish_to(small.host, settings)
    send_update("news", 1)
    small.connections[0].sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    receipt = send_update("news", 2)
    assert receipt is not None
    assert receipt.status == 202
    assert len(small.connections) == 2


def test_a_server_that_hangs_up_in_the_middle_is_an_error(
    settings: LazySettings,
) -> None:
    """An update of which nobody knows whether it arrived is not sent twice."""
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
        b"",
        b"\x00\xff nonsense\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 202 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 202 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 202 " + b"x" * 70_000,
    ],
    ids=["nothing", "binary", "ssh", "status", "short", "chunks", "headers", "line"],
)
def test_an_answer_that_is_no_http_is_an_error(
    answer: bytes, settings: LazySettings
) -> None:
    """Whatever answers at the publisher's port, it is a PublishError with the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        publish_to(host, settings)

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                received = b""
                while not received.endswith(b'"end"'):
                    received += connection.recv(65536)
                with contextlib.suppress(OSError):
                    connection.sendall(answer)

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(PublishError, match=host):
            send_update("news", "end")
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 202 Accepted\r\n\r\nand then nothing",
        b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_a_failed_update_leaves_no_connection_open(
    answer: bytes, settings: LazySettings
) -> None:
    """The connection is closed with the error, not when memory is tidied up."""
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
            gc.collect()  # What earlier tests left is none of this one's.
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fail()
                gc.collect()
        finally:
            done.set()
            thread.join()
    assert [each for each in caught if each.category is ResourceWarning] == []


def test_nobody_there_is_an_error_with_a_remedy(settings: LazySettings) -> None:
    """A refused connection names the URL and asks whether the push server runs."""
    host = f"127.0.0.1:{free_port()}"
    publish_to(host, settings)
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert caught.value.status is None
    assert f"http://{host}/publisher/news" in str(caught.value)
    assert "Is the push server running there?" in str(caught.value)
    assert "or correct PUSH_SERVER['publisher_host']" in str(caught.value)


def test_nobody_at_the_default_address_is_an_error_with_a_remedy(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no setting says where to publish, the error says which one would."""
    port = free_port()
    monkeypatch.setattr(channel_urls, "DEFAULT_PORT", port)
    settings.PUSH_SERVER = {"publisher": "http"}
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert f"http://127.0.0.1:{port}/" in str(caught.value)
    assert "or name its address and port in PUSH_SERVER['publisher_host']" in (
        str(caught.value)
    )


def test_an_unknown_host_is_an_error(settings: LazySettings) -> None:
    """A name that no resolver knows is a PublishError, too."""
    publish_to("push-server.invalid:80", settings)
    with pytest.raises(PublishError, match=r"http://push-server\.invalid:80/"):
        send_update("news", {})


def test_a_silent_server_is_not_waited_for(settings: LazySettings) -> None:
    """A server that never answers is an error that names the limit."""
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
def test_a_server_that_answers_in_drops_is_not_waited_for(
    head: bytes, settings: LazySettings
) -> None:
    """The limit is for the whole answer: a byte now and then does not extend it."""
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
                    # More often than the limit, and all together far longer than it.
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


def test_a_time_limit_of_zero_is_none(
    small: SmallServer, settings: LazySettings
) -> None:
    """0 seconds are no limit, as elsewhere in the settings."""
    publish_to(small.host, settings, publisher_timeout=0)
    assert send_update("news", {})
    assert send_update("news", {})


def test_a_time_limit_is_that_of_the_moment(
    small: SmallServer, settings: LazySettings
) -> None:
    """A kept connection has the limit of the call that uses it."""
    publish_to(small.host, settings)
    assert send_update("news", {})
    publish_to(small.host, settings, publisher_timeout=123)
    assert send_update("news", {})
    assert len(small.connections) == 1


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, in one file with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[SmallServer]:
    """A small push server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = SmallServer()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server


def test_a_certificate_that_nobody_trusts_is_refused(
    secure: SmallServer, settings: LazySettings
) -> None:
    """A self-signed certificate is an error that says so, and nothing is published."""
    publish_to(secure.host, settings, secure=True)
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert f"https://{secure.host}/publisher/news" in str(caught.value)
    assert "certificate" in str(caught.value)
    assert "self-signed" in str(caught.value)
    assert secure.requests == []


def test_a_trusted_certificate_is_used(
    secure: SmallServer,
    settings: LazySettings,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over TLS an update arrives and the connection is kept as without."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    publish_to(secure.host, settings, secure=True)
    for number in range(3):
        assert send_update("news", number)
    assert [body for *_, body in secure.requests] == [b"0", b"1", b"2"]
    assert len(secure.connections) == 1


def test_tls_to_a_plain_port_is_an_error_that_tells_it(
    small: SmallServer, settings: LazySettings
) -> None:
    """The old documentation's "secure" without TLS there names the setting."""
    publish_to(small.host, settings, secure=True)
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert f"https://{small.host}/" in str(caught.value)
    assert "secure" in str(caught.value)


def test_an_error_survives_pickling() -> None:
    """Task queues send exceptions to other processes."""
    error = PublishError("http://push/news", "it answered 403.", 403)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(again) == str(error)
        assert (again.url, again.reason, again.status) == (
            "http://push/news",
            "it answered 403.",
            403,
        )


def test_a_receipt_knows_whether_somebody_was_there() -> None:
    """Only 201 says that a subscriber was sent the message."""
    assert Receipt(201).delivered
    assert not Receipt(202, INFO).delivered
    assert Receipt(202) == Receipt(202)


@pytest.mark.parametrize("choice", ["auto", "http"])
def test_without_a_server_here_publishing_is_http(
    choice: str, settings: LazySettings
) -> None:
    """Where no push server runs in this process, an update takes the wire."""
    settings.PUSH_SERVER = {"publisher": choice}
    assert isinstance(get_publisher(), HTTPPublisher)
    assert get_publisher() is get_publisher()


def test_direct_without_a_server_here_is_an_error(settings: LazySettings) -> None:
    """Publishing directly into nothing is refused with the way out."""
    settings.PUSH_SERVER = {"publisher": "direct"}
    assert isinstance(get_publisher(), DirectPublisher)
    with pytest.raises(PublishError, match="Use 'auto'"):
        send_update("news", {})


def test_direct_without_the_server_package_is_an_error(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server cannot be imported, "direct" is a mistake and "auto" is HTTP."""
    monkeypatch.setitem(sys.modules, "pushserver_channels.publishers", None)
    settings.PUSH_SERVER = {"publisher": "direct"}
    with pytest.raises(ImproperlyConfigured, match="Use 'auto' or 'http'"):
        get_publisher()
    settings.PUSH_SERVER = {"publisher": "auto"}
    assert isinstance(get_publisher(), HTTPPublisher)


@pytest.mark.parametrize(
    ("choice", "kind"),
    [("auto", DirectPublisher), ("direct", DirectPublisher), ("http", HTTPPublisher)],
)
async def test_with_a_server_in_use_here_publishing_is_direct(
    choice: str, kind: type, settings: LazySettings
) -> None:
    """In the process that serves, an update needs no socket unless it is told to."""
    settings.PUSH_SERVER = {"publisher": choice}
    hubs.get("default")  # As the first push client of this process does.
    assert type(get_publisher()) is kind


async def test_direct_publishing_keeps_the_message(settings: LazySettings) -> None:
    """What is published directly is in the store, with the channel info of a POST."""
    settings.PUSH_SERVER = {}
    hubs.get("default")  # As the first push client of this process does.
    receipt = await asend_update("news", {"a": "ä"})
    assert receipt is not None
    assert receipt.status == 202
    assert receipt.info is not None
    assert receipt.info.keys() == INFO.keys()
    assert (receipt.info["messages"], receipt.info["subscribers"]) == (1, 0)
    info = await hubs.get("default").info("news")
    assert info.messages == 1
    assert str(info.last_message_id) == receipt.info["last_message_id"]


async def test_direct_publishing_works_from_a_thread(settings: LazySettings) -> None:
    """A thread of the serving process hands its update to the loop that serves."""
    settings.PUSH_SERVER = {}
    hubs.get("default")  # As the first push client of this process does.
    receipts = await asyncio.gather(
        *(asyncio.to_thread(send_update, "news", number) for number in range(20))
    )
    assert {each.status for each in receipts if each} == {202}
    assert (await hubs.get("default").info("news")).messages == 20


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"max_message_size": 3}, 413), ({"create_on_post": False}, 404)],
)
async def test_direct_publishing_has_the_limits_of_its_location(
    limits: dict[str, Any], status: int, settings: LazySettings
) -> None:
    """What a POST would be refused, the direct way refuses: same status, same error."""
    location = {"type": "publisher", "prefix": "/p/", **limits}
    settings.PUSH_SERVER = {"locations": [location]}
    hubs.get("default")  # As the first push client of this process does.
    for send in (asend_update, lambda *args: asyncio.to_thread(send_update, *args)):
        with pytest.raises(PublishError) as caught:
            await send("news", "long")
        assert caught.value.status == status
        assert caught.value.url == publisher_url("news")
    assert await asend_update("news", "long", ignore_errors=True) is None


async def test_direct_publishing_of_an_unkept_message(settings: LazySettings) -> None:
    """The location's store_messages counts for direct publishing, too."""
    location = {"type": "publisher", "prefix": "/p/", "store_messages": False}
    settings.PUSH_SERVER = {"locations": [location]}
    hubs.get("default")  # As the first push client of this process does.
    assert await asend_update("news", {})
    assert (await hubs.get("default").info("news")).messages == 0


ALONE = """
import importlib, pkgutil, sys

BLOCKED = {"channels", "daphne", "redis", "twisted", "pushserver_channels"}


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)


sys.meta_path.insert(0, Blocker())

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["pushserver"],
    ROOT_URLCONF="pushserver.urls",
    PUSH_SERVER={
        "publisher_host": sys.argv[1],
        "locations": [{"type": "publisher", "url": "/send-update/([^/]+)"}],
    },
)
django.setup()

import pushserver

for module in pkgutil.walk_packages(pushserver.__path__, "pushserver."):
    if module.name != "pushserver.management.commands.runpushserver":
        importlib.import_module(module.name)
        print(module.name)
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}

from django.core.management import call_command

call_command("check")

from pushserver.updates import send_update

print(send_update("alone", {"from": "the app alone"}).status)
"""


def test_the_app_works_without_the_server(server: ServerProcess) -> None:
    """Without channels, daphne, redis, twisted and our server, it publishes by HTTP."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, f"127.0.0.1:{server.port}"],
        cwd=ROOT,
        env={name: each for name, each in os.environ.items() if "DJANGO" not in name},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *modules, status = done.stdout.split()
    assert status == "202"
    assert {
        "pushserver.conf",
        "pushserver.templatetags.pushserver",
        "pushserver.utils",
        "pushserver.views",
    } <= set(modules)
    response = httpx.get(f"{server.url}/interval/alone")
    assert response.json() == {"from": "the app alone"}


async def test_a_request_of_ones_own_can_be_published(
    small: SmallServer, publisher: HTTPPublisher, settings: LazySettings
) -> None:
    """The publisher takes any request, with the headers that it has."""
    settings.PUSH_SERVER = {"locations": LOCATIONS}
    url = f"http://{small.host}/send-update/x?y=z"
    request = Request(url, data=b"<b>", headers={"Content-Type": "text/html"})
    update = Update("x", b"<b>", b"text/html")
    assert (await publisher.publish(update, request)).status == 202
    [(path, headers, body)] = small.requests
    assert (path, body) == ("/send-update/x?y=z", b"<b>")
    assert headers["content-type"] == "text/html"
