from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from pushserver.channel_urls import find_publisher
from pushserver.paths import build_path
from pushserver.publishers import Publication, PublishError, Receipt, Update
from pushserver.signals import pre_send_update
from pushserver.updates import asend_update
from pushserver_channels.hub import hubs
from pushserver_channels.messages import START
from pushserver_channels.publishers import DirectPublisher
from pushserver_channels.routing import get_application

from .exchanges import Site, django

pytestmark = pytest.mark.usefixtures("nothing_left")

URL = "http://127.0.0.1:8001/send-update/a"

Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves both kinds of locations with given options."""
    changes = ExitStack()

    def serve(store: dict[str, Any] | None = None, **options: Any) -> Site:
        conf = {
            "store": {"type": "memory", **(store or {})},
            "locations": [
                {"type": "publisher", "url": "/send-update/([^/]+)", **options},
                {
                    "type": "subscriber",
                    "url": "/updates/([^/]+)",
                    "create_on_get": True,
                },
            ],
        }
        changes.enter_context(override_settings(PUSH_SERVER=conf))
        hubs.serve()
        return Site(get_application(django))

    with changes:
        yield serve


async def publish(
    body: bytes = b"news", channel_id: str = "a", content_type: bytes | None = b"x/y"
) -> Receipt:
    update = Update(channel_id, body, content_type)
    return await DirectPublisher().publish(Publication(update, find_publisher()))


async def test_publishing_to_a_waiting_subscriber(serve: Serve) -> None:
    """A waiting subscriber gets the message, and the receipt has 201 and the info."""
    site = serve()
    held = await site.hold("/updates/a")
    receipt = await publish()
    answer = await held.answer()
    assert (receipt.status, receipt.delivered) == (201, True)
    assert receipt.info is not None
    assert receipt.info["subscribers"] == 1
    assert (answer.body, answer["content-type"]) == (b"news", "x/y")


async def test_publishing_without_a_subscriber(serve: Serve) -> None:
    """Without a waiting subscriber, the message is stored and the receipt has 202."""
    site = serve()
    receipt = await publish()
    assert (receipt.status, receipt.delivered) == (202, False)
    assert (await site.ask("GET", "/updates/a")).body == b"news"


async def test_receipt_has_the_info_of_a_post(serve: Serve) -> None:
    """The info of a receipt is the document that a POST returns, as a dict."""
    site = serve()
    receipt = await publish(channel_id="a")
    posted = await site.ask(
        "POST", "/send-update/b", [(b"accept", b"application/json")], b"news"
    )
    told = json.loads(posted.body)
    assert receipt.info is not None
    assert list(receipt.info) == list(told)
    assert {**receipt.info, "last_message_id": ""} == {**told, "last_message_id": ""}


@pytest.mark.parametrize("content_type", [None, b"text/plain; name=\xe9"])
@pytest.mark.parametrize("body", [b"", bytes(range(256))])
async def test_body_and_type_are_unchanged(
    serve: Serve, body: bytes, content_type: bytes | None
) -> None:
    """The body and its type are delivered unchanged."""
    site = serve()
    await publish(body, content_type=content_type)
    answer = await site.ask("GET", "/updates/a")
    header = content_type and content_type.decode("latin-1")
    assert (answer.body, answer["content-type"]) == (body, header)


@pytest.mark.parametrize("channel_id", ["a/b", "\u20ac", "\x00", "%2F", " ", "x" * 512])
async def test_any_channel_id(serve: Serve, channel_id: str) -> None:
    """A message with any channel id is published on the channel with that id."""
    serve()
    await publish(channel_id=channel_id)
    message = await hubs.get("default").next(channel_id, START, create=False)
    assert message is not None


async def test_allow_from_does_not_apply_to_the_site(serve: Serve) -> None:
    """The site itself may publish, whatever allow_from says."""
    serve(allow_from=[])
    assert (await publish()).status == 202


async def test_store_messages_applies(serve: Serve) -> None:
    """The setting store_messages of the location applies here, too."""
    serve(store_messages=False)
    receipt = await publish()
    assert receipt.info is not None
    assert receipt.info["messages"] == 0


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ({"max_message_size": 3}, 413, "at most 3 bytes"),
        ({"create_on_post": False}, 404, "no such channel"),
        ({"store": {"max_channels": 1}}, 503, "the limit"),
    ],
)
async def test_refused_message_is_an_error(
    serve: Serve, options: dict[str, Any], status: int, reason: str
) -> None:
    """A refused message raises an error with the status and the reason."""
    serve(**options)
    await hubs.get("default").create("other")
    with pytest.raises(PublishError, match=reason) as refusal:
        await publish()
    assert refusal.value.status == status
    assert refusal.value.url == URL
    assert "the push server of this process" in str(refusal.value)


async def test_first_publisher_location_is_used(serve: Serve) -> None:
    """Direct publishing uses the first publisher location and its store."""
    conf = {
        "store": {"default": {"type": "memory"}, "other": {"type": "memory"}},
        "locations": [
            {"type": "publisher", "url": "/first/(.+)", "store": "other"},
            {"type": "publisher", "url": "/second/(.+)"},
        ],
    }
    with override_settings(PUSH_SERVER=conf):
        hubs.serve()
        await publish()
        assert (await hubs.get("other").info("a")).messages == 1


async def test_changed_settings_apply_to_the_next_message(serve: Serve) -> None:
    """A change of the settings applies from the next message on."""
    serve(max_message_size=3)
    with pytest.raises(PublishError):
        await publish()
    serve(max_message_size=4)
    await publish()


async def test_publisher_host_decides_whether_direct_publishing_is_available() -> None:
    """With a publisher_host, direct publishing needs a server at that address."""
    with override_settings(PUSH_SERVER={"publisher_host": "127.0.0.1:8001"}):
        site = Site(get_application(django))
        assert not DirectPublisher().is_available(find_publisher())
        await site.ask("GET", "/publisher/a", server=["127.0.0.1", 8000])
        assert not DirectPublisher().is_available(find_publisher())
        await site.ask("GET", "/elsewhere", server=["127.0.0.1", 8001])
        assert DirectPublisher().is_available(find_publisher())


def test_error_without_a_server_in_this_process() -> None:
    """Without a server in this process, the error explains what to do."""
    assert not DirectPublisher().is_available(find_publisher())
    with pytest.raises(PublishError, match="Use 'auto'") as error:
        async_to_sync(publish)()
    assert error.value.status is None


def test_publishing_to_a_stopped_server_is_an_error() -> None:
    """Publishing to a server whose event loop has stopped is an error."""

    async def serve() -> None:
        hubs.get("default")
        assert DirectPublisher().is_available(find_publisher())

    asyncio.run(serve())
    assert not DirectPublisher().is_available(find_publisher())
    with pytest.raises(PublishError):
        async_to_sync(publish)()


async def test_publishing_from_another_thread(serve: Serve) -> None:
    """A thread with its own event loop publishes on the loop of the server."""
    site = serve()
    held = await site.hold("/updates/a")
    threads: list[int] = []
    append = hubs.get("default").store.append

    async def spy(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.get_ident())
        return await append(*args, **kwargs)

    hubs.get("default").store.append = spy  # type: ignore[method-assign]
    loop = asyncio.get_running_loop()
    receipt = await loop.run_in_executor(None, lambda: asyncio.run(publish()))
    assert receipt.delivered
    assert (await held.answer()).body == b"news"
    assert threads == [threading.get_ident()]


async def test_refusal_is_raised_in_the_publishing_thread(serve: Serve) -> None:
    """A refusal is raised in the thread that published."""
    serve(max_message_size=3)

    def attempt() -> None:
        with pytest.raises(PublishError, match="at most 3 bytes"):
            asyncio.run(publish())

    await asyncio.get_running_loop().run_in_executor(None, attempt)


async def test_many_threads(serve: Serve) -> None:
    """Threads that publish at once lose no message, and each keeps its order."""
    serve()
    loop = asyncio.get_running_loop()

    def publish_all(thread: int) -> None:
        for number in range(25):
            async_to_sync(publish)(b"%d:%d" % (thread, number))

    with ThreadPoolExecutor(8) as pool:
        await asyncio.gather(
            *(loop.run_in_executor(pool, publish_all, thread) for thread in range(8))
        )
    bodies, after = [], START
    while (message := await hubs.get("default").next("a", after)) is not None:
        bodies.append(message.body)
        after = message.id
    for thread in range(8):
        mine = [body for body in bodies if body.startswith(b"%d:" % thread)]
        assert mine == [b"%d:%d" % (thread, number) for number in range(25)]
    assert len(bodies) == 200


async def test_pattern_without_a_url(serve: Serve) -> None:
    """A pattern without a URL does not prevent direct publishing."""
    told = []

    def hear(**update: Any) -> None:
        told.append(update["request"])

    pattern = r"/(?:send|publish)/(.+)"
    with pytest.raises(ValueError, match="cannot be turned into a URL"):
        build_path(re.compile(pattern), "x")
    locations = [{"type": "publisher", "url": pattern}]
    pre_send_update.connect(hear)
    try:
        with override_settings(PUSH_SERVER={"locations": locations}):
            hubs.serve()
            receipt = await asend_update("x", {"a": 1})
    finally:
        pre_send_update.disconnect(hear)
    assert receipt is not None
    assert receipt.status == 202
    assert told == [None]
