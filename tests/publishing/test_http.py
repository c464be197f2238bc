from __future__ import annotations

import contextlib
import copy
import json
import pickle
import socket
import threading
from urllib.request import Request

import pytest
from django.conf import LazySettings

from pushserver import channel_urls
from pushserver.channel_urls import find_publisher
from pushserver.publishers import (
    HTTPPublisher,
    Publication,
    PublishError,
    Receipt,
    Update,
)
from pushserver.updates import send_update
from tests.servers import LOCATIONS, daphne, free_port

from .small_server import SmallServer, publish_to

INFO = {"messages": 1, "requested": 0, "subscribers": 2, "last_message_id": "17:0"}


def test_update_is_one_post(small: SmallServer, settings: LazySettings) -> None:
    """An update is a plain POST that any server of the protocol accepts."""
    publish_to(small.host, settings)
    send_update("käse/a", {"a": "ä"})
    [(path, headers, body)] = small.requests
    assert path == "/publisher/k%C3%A4se/a"
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
def test_successful_statuses_give_a_receipt(
    status: int,
    delivered: bool,
    answer: bytes,
    info: dict[str, object] | None,
    small: SmallServer,
    settings: LazySettings,
) -> None:
    """200, 201 and 202 mean success, whatever channel info the body contains."""
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
def test_other_statuses_are_errors(
    status: int, small: SmallServer, settings: LazySettings
) -> None:
    """The error has the status, the URL and the message of the server."""
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


def test_html_is_not_quoted_in_an_error(
    small: SmallServer, settings: LazySettings
) -> None:
    """The error contains the status but no HTML, and only the start of a long text."""
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


@pytest.mark.process
def test_errors_contain_the_reason_of_the_push_server(settings: LazySettings) -> None:
    """The errors for 403, 404 and 413 contain the push server's message."""
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
def test_response_that_is_not_http_is_an_error(
    answer: bytes, settings: LazySettings
) -> None:
    """Any response that is not HTTP raises PublishError with the URL."""
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


def test_refused_connection_is_an_error_with_a_remedy(settings: LazySettings) -> None:
    """For a refused connection, the error names the URL and suggests a remedy."""
    host = f"127.0.0.1:{free_port()}"
    publish_to(host, settings)
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert caught.value.status is None
    assert f"http://{host}/publisher/news" in str(caught.value)
    assert "Is the push server running there?" in str(caught.value)
    assert "or correct PUSH_SERVER['publisher_host']" in str(caught.value)


def test_refused_connection_without_settings_names_the_setting(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without settings, the error says which setting names the publisher's address."""
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
    """A host name that cannot be resolved raises PublishError, too."""
    publish_to("push-server.invalid:80", settings)
    with pytest.raises(PublishError, match=r"http://push-server\.invalid:80/"):
        send_update("news", {})


def test_an_error_survives_pickling() -> None:
    """A PublishError can be pickled, since task queues send exceptions."""
    error = PublishError("http://push/news", "it answered 403.", 403)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(again) == str(error)
        assert (again.url, again.reason, again.status) == (
            "http://push/news",
            "it answered 403.",
            403,
        )


def test_receipt_says_whether_a_subscriber_got_the_message() -> None:
    """Only status 201 means that a subscriber was sent the message."""
    assert Receipt(201).delivered
    assert not Receipt(202, INFO).delivered
    assert Receipt(202) == Receipt(202)


async def test_custom_request_can_be_published(
    small: SmallServer, publisher: HTTPPublisher, settings: LazySettings
) -> None:
    """The publisher takes any request, with its headers."""
    settings.PUSH_SERVER = {"locations": LOCATIONS}
    url = f"http://{small.host}/send-update/x?y=z"
    request = Request(url, data=b"<b>", headers={"Content-Type": "text/html"})
    update = Update("x", b"<b>", b"text/html")
    publication = Publication(update, find_publisher(), request=request)
    assert (await publisher.publish(publication)).status == 202
    [(path, headers, body)] = small.requests
    assert (path, body) == ("/send-update/x?y=z", b"<b>")
    assert headers["content-type"] == "text/html"
