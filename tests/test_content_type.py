"""The argument ``content_type`` of ``send_update``, for each way to publish."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver.conf import get_settings
from pushserver.updates import asend_update, send_update
from pushserver_channels.hub import hubs
from pushserver_channels.messages import START
from pushserver_channels.stores import make_store

from . import http
from .conformance.servers import nginx
from .servers import LOCATIONS, ServerProcess
from .valkey import Valkey

HTML = "text/html; charset=utf-8"

#: Publishes with keyword arguments; returns Content-Type and body as received.
Publish = Callable[..., tuple[str | None, bytes]]


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as own:
        yield own


@pytest.fixture(scope="module")
def nchan() -> Iterator[Any]:
    locations = [{**each, "passthrough": None} for each in LOCATIONS[1:]]
    locations = [LOCATIONS[0], *locations]
    store = {"type": "memory", "max_messages": 10}
    with nginx({"store": store, "locations": locations}) as process:
        yield process


def over_http(server: ServerProcess, settings: LazySettings) -> Publish:
    """Publish with a POST and return what a subscriber receives."""
    settings.PUSH_SERVER = {
        "publisher_host": f"127.0.0.1:{server.port}",
        "locations": LOCATIONS,
    }

    def publish(data: Any, **options: Any) -> tuple[str | None, bytes]:
        channel_id = uuid.uuid4().hex
        send_update(channel_id, data, **options)
        answer = http.get(f"{server.url}/interval/{channel_id}")
        return answer.headers.get("Content-Type"), answer.content

    return publish


def directly(store: dict[str, Any], settings: LazySettings) -> Publish:
    """Publish into a store without an HTTP request."""
    settings.PUSH_SERVER = {"store": store}

    async def publish_and_look(data: Any, **options: Any) -> tuple[str | None, bytes]:
        channel_id = uuid.uuid4().hex
        if store["type"] == "memory":
            hubs.serve()
            await asend_update(channel_id, data, **options)
            message = await hubs.get("default").next(channel_id, START)
        else:
            await asend_update(channel_id, data, **options)
            kept = make_store(get_settings().store["default"])
            message = await kept.next(channel_id, START)
            await kept.aclose()
        assert message is not None
        content_type = message.content_type
        return content_type and content_type.decode("latin-1"), message.body

    return lambda data, **options: asyncio.run(publish_and_look(data, **options))


@pytest.fixture(params=["http", "nchan", "memory", "redis"])
def publish(
    request: pytest.FixtureRequest, settings: LazySettings
) -> Iterator[Publish]:
    if request.param == "http":
        yield over_http(request.getfixturevalue("server"), settings)
    elif request.param == "nchan":
        yield over_http(request.getfixturevalue("nchan"), settings)
    elif request.param == "memory":
        yield directly({"type": "memory"}, settings)
    else:
        url = request.getfixturevalue("valkey").url
        yield directly({"type": "redis", "url": url}, settings)
    hubs.reset()


@pytest.mark.process
@pytest.mark.parametrize(
    ("data", "options", "content_type", "body"),
    [
        ("<p>ü", {"content_type": HTML}, HTML, "<p>ü".encode()),
        (b"\x89PNG", {"content_type": "image/png"}, "image/png", b"\x89PNG"),
        (bytearray(b"a"), {"content_type": "a/b"}, "a/b", b"a"),
        (memoryview(b"ab"), {"content_type": "a/b"}, "a/b", b"ab"),
        (
            "<p>",
            {"content_type": HTML, "already_serialized": True},
            HTML,
            b"<p>",
        ),
        ({"a": 1}, {"content_type": "application/x+json"}, "application/x+json", None),
        (["<p>"], {"content_type": "application/json"}, "application/json", b'["<p>"]'),
        ("<p>", {}, "application/json; charset=utf-8", b'"<p>"'),
        ("<p>", {"content_type": None}, "application/json; charset=utf-8", b'"<p>"'),
        ("a", {"content_type": " text/plain "}, "text/plain", b"a"),
    ],
)
def test_data_is_sent_with_its_type(
    data: Any,
    options: dict[str, Any],
    content_type: str,
    body: bytes | None,
    publish: Publish,
) -> None:
    """With a type, text and bytes are sent unchanged and other data as JSON."""
    assert publish(data, **options) == (content_type, body or b'{"a": 1}')


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html\r\nX-Evil: 1",
        "text/html\n",
        "\ttext/html",
        "text/\x00html",
        "text/html\x7f",
        "",
        "  ",
        "text/html; charset=\U0001f4ec",
    ],
)
def test_invalid_header_value_is_refused(content_type: str) -> None:
    """A type that cannot be a header raises ValueError before anything is sent."""
    with pytest.raises(ValueError, match="^content_type "):
        send_update("news", "<p>", content_type=content_type, ignore_errors=True)


@pytest.mark.parametrize("content_type", [b"text/html", 5, True, ["text/html"]])
def test_type_that_is_not_text_is_refused(content_type: Any) -> None:
    """A type that is not a text raises TypeError that says what is expected."""
    with pytest.raises(TypeError, match="content_type must be a str"):
        send_update("news", "<p>", content_type=content_type)


def test_content_type_is_keyword_only() -> None:
    """content_type is keyword-only; the four old arguments keep their positions."""
    with pytest.raises(TypeError):
        send_update("news", "<p>", False, False, HTML)  # type: ignore[misc]
