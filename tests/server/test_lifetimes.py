"""How long a message is kept, by the header ``TTL`` of its POST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import MAX_SECONDS
from pushserver.signals import pre_send_update
from pushserver.updates import asend_update
from pushserver_channels.hub import hubs
from pushserver_channels.messages import START, Message
from pushserver_channels.routing import get_application

from .exchanges import Site, django

pytestmark = pytest.mark.usefixtures("nothing_left")

LOCATIONS = [
    {
        "type": "publisher",
        "prefix": "/send-update/",
        "allow_origin": "https://other.example",
    },
    {"type": "publisher", "prefix": "/passing/", "store_messages": False},
    {"type": "subscriber", "prefix": "/updates/", "create_on_get": True},
]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        hubs.serve()
        yield Site(get_application(django))


async def post(site: Site, *lines: bytes, path: str = "/send-update/a") -> Any:
    """Publish a message with values of ``TTL``."""
    return await site.ask("POST", path, [(b"ttl", each) for each in lines], b"news")


async def find() -> Message | None:
    """Return the message that is kept."""
    return await hubs.get("default").next("a", START)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"60", 60), (b"1", 1), (b" 7 ", 7), (b"007", 7), (b"%d" % MAX_SECONDS, None)],
)
async def test_message_with_a_lifetime(
    site: Site, value: bytes, seconds: int | None
) -> None:
    """A message expires after the seconds in TTL."""
    assert (await post(site, value)).status == 202
    message = await find()
    assert message is not None
    assert message.expires == (seconds or MAX_SECONDS)


@pytest.mark.parametrize("value", [b"0", b"00"])
async def test_message_for_those_who_wait(site: Site, value: bytes) -> None:
    """With TTL 0 a message goes to the waiting subscribers, and is not kept."""
    held = await site.hold("/updates/a")
    answer = await post(site, value)
    assert answer.status == 201
    assert (await held.answer()).body == b"news"
    assert (await post(site, value)).status == 202
    assert await find() is None


async def test_location_that_keeps_nothing(site: Site) -> None:
    """TTL does not make a location keep messages that it does not store."""
    assert (await post(site, b"60", path="/passing/a")).status == 202
    assert await find() is None


@pytest.mark.parametrize(
    "value",
    [b"-1", b"1.5", b"1e3", b"soon", b"+5", b"1 2", b"\xb2", b"9" * 30, b"3162240001"],
)
async def test_invalid_lifetime_is_refused(site: Site, value: bytes) -> None:
    """A TTL that is not a number of seconds is answered 400, and nothing is kept."""
    answer = await post(site, value)
    assert answer.status == 400
    assert b"TTL" in answer.body
    assert await find() is None


async def test_repeated_lifetime_is_refused(site: Site) -> None:
    """Two values of TTL are answered 400."""
    assert (await post(site, b"1", b"2")).status == 400


async def test_pages_may_send_a_lifetime(site: Site) -> None:
    """A page of an allowed origin may send TTL."""
    headers = [(b"origin", b"https://other.example")]
    answer = await site.ask("OPTIONS", "/send-update/a", headers)
    assert "TTL" in answer["access-control-allow-headers"].split(", ")


async def test_direct_publishing_has_a_lifetime(site: Site) -> None:
    """expires and keep apply to direct publishing."""
    await asend_update("a", 1, keep=False)
    assert await find() is None
    await asend_update("a", 1, expires=1.5)
    message = await find()
    assert message is not None
    assert message.expires == 2


async def test_receiver_may_change_the_lifetime(site: Site) -> None:
    """A receiver of pre_send_update sees the lifetime, and may change it."""
    seen = []

    def change(request: Any, **others: Any) -> None:
        seen.append(request.get_header("Ttl"))
        request.add_header("TTL", "9")

    pre_send_update.connect(change)
    try:
        await asend_update("a", 1, keep=False)
    finally:
        pre_send_update.disconnect(change)
    assert seen == ["0"]
    message = await find()
    assert message is not None
    assert message.expires == 9


@pytest.mark.parametrize("expires", [0, -1, float("nan"), float("inf"), 10**12])
async def test_impossible_lifetime_is_an_error(site: Site, expires: float) -> None:
    """An expires that is not a lifetime raises ValueError, and names keep=False."""
    with pytest.raises(ValueError, match="keep=False"):
        await asend_update("a", 1, expires=expires, ignore_errors=True)


@pytest.mark.parametrize("expires", [True, "60", object()])
async def test_lifetime_of_another_type_is_an_error(site: Site, expires: Any) -> None:
    with pytest.raises(TypeError, match="expires must be a number of seconds"):
        await asend_update("a", 1, expires=expires)
