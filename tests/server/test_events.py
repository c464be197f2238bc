"""Event names, from the publisher to the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.request import Request

import pytest
from django.test import override_settings

from pushserver.channel_urls import find_publisher
from pushserver.publishers import Publication, PublishError, Update
from pushserver.publishers.http import build_request
from pushserver.signals import pre_send_update
from pushserver.updates import asend_update
from pushserver_channels.hub import hubs
from pushserver_channels.messages import START
from pushserver_channels.publishers import DirectPublisher
from pushserver_channels.routing import get_application

from .exchanges import Site, django

pytestmark = pytest.mark.usefixtures("nothing_left")

HEADER = b"x-eventsource-event"
LOCATIONS = [{"type": "publisher", "url": "/send-update/([^/]+)"}]
UNFIT = ["error", "open", "message", "push-gap", "a" * 129]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        hubs.serve()
        yield Site(get_application(django))


async def kept(channel_id: str = "a") -> list[str | None]:
    """Return the event names of the stored messages."""
    messages = await hubs.get("default").store.page(channel_id, START, 10)
    return [message.event for message in messages]


@pytest.mark.parametrize(
    ("header", "event"),
    [
        (b"story", "story"),
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("latin-1"), "Grüße"),
        (b"a" * 128, "a" * 128),
        (b"", None),
    ],
)
async def test_post_names_its_event(
    site: Site, header: bytes, event: str | None
) -> None:
    assert (await site.post("a", b"1", [(HEADER, header)])).status == 202
    assert await kept() == [event]


@pytest.mark.parametrize("name", [*UNFIT, "a\0b"])
async def test_post_with_an_invalid_event_name_publishes_nothing(
    site: Site, name: str
) -> None:
    answer = await site.post("a", b"1", [(HEADER, name.encode())])
    assert answer.status == 400
    assert b"event" in answer.body
    assert await site.info("a") is None


async def test_send_update_names_an_event(site: Site) -> None:
    await asend_update("a", 1, event="Grüße")
    await asend_update("a", 2)
    assert await kept() == ["Grüße", None]


@pytest.mark.parametrize("name", [*UNFIT, "", "a\nb", "a\rb", "a\0b"])
async def test_send_update_refuses_an_invalid_event_name(site: Site, name: str) -> None:
    with pytest.raises(ValueError, match="event"):
        await asend_update("a", 1, event=name)
    with pytest.raises(TypeError, match="event must be a str"):
        await asend_update("a", 1, event=b"story")  # type: ignore[arg-type]


async def test_direct_publishing_refuses_an_invalid_event_name(site: Site) -> None:
    publication = Publication(Update("a", b"1", event="error"), find_publisher())
    with pytest.raises(PublishError, match="event"):
        await DirectPublisher().publish(publication)


async def test_signal_receiver_may_name_the_event(site: Site) -> None:
    """A receiver of pre_send_update may change the name, or keep it."""
    seen: list[str | None] = []

    def rename(request: Request, **told: object) -> None:
        seen.append(request.get_header("X-eventsource-event"))
        if len(seen) > 1:
            request.add_header("X-EventSource-Event", "renamed")

    pre_send_update.connect(rename)
    try:
        await asend_update("a", 1, event="Grüße")
        await asend_update("a", 2, event="story")
    finally:
        pre_send_update.disconnect(rename)
    assert seen[1] == "story"
    assert await kept() == ["Grüße", "renamed"]


async def test_event_name_is_utf_8_over_http(site: Site) -> None:
    request = build_request(
        Publication(Update("a", b"1", event="Grüße"), find_publisher())
    )
    value = request.get_header("X-eventsource-event")
    assert value is not None
    assert value.encode("latin-1").decode() == "Grüße"
