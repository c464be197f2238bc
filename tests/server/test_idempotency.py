"""POSTs with the header ``Idempotency-Key``, and the receipts in this process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver.publishers.idempotency import make_retry_key
from pushserver.updates import asend_update
from pushserver_channels.hub import hubs
from pushserver_channels.messages import ChannelInfo, MessageId
from pushserver_channels.receipts import MAX_RECEIPTS, Receipts, StoredReceipt
from pushserver_channels.routing import get_application

from .exchanges import Site, django

pytestmark = pytest.mark.usefixtures("nothing_left")

LOCATIONS: list[dict[str, Any]] = [
    {"type": "publisher", "prefix": "/send-update/", "max_message_size": 100},
    {"type": "subscriber", "prefix": "/updates/", "create_on_get": True},
]

LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

INFO = ChannelInfo(1, 0, MessageId(17, 0))


@pytest.fixture(params=["memory", "channel_layer"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    block = {"store": {"type": request.param}, "locations": LOCATIONS}
    with override_settings(PUSH_SERVER=block, CHANNEL_LAYERS=LAYERS):
        hubs.serve()
        yield Site(get_application(django))


async def post(
    site: Site, key: bytes | None, path: str = "a", body: bytes = b"news"
) -> Any:
    """Publish a message with a key."""
    headers = [] if key is None else [(b"idempotency-key", key)]
    return await site.ask("POST", f"/send-update/{path}", headers, body)


async def count(channel_id: str = "a") -> int:
    """Return the number of messages of a channel."""
    return (await hubs.get("default").info(channel_id)).messages


async def test_repeated_post_is_answered_alike(site: Site) -> None:
    """The same POST again publishes nothing, and gets the same answer."""
    first = await post(site, b"order-7")
    await post(site, None)
    again = await post(site, b"order-7")
    assert (again.status, again.body) == (first.status, first.body)
    assert await count() == 2


async def test_answer_counts_those_who_waited_then(site: Site) -> None:
    """Who waited for the first message counts, and nobody gets it twice."""
    held = [await site.hold("/updates/a") for _ in range(3)]
    first = await post(site, b"order-7")
    for each in held:
        assert (await each.answer()).body == b"news"
    again = await post(site, b"order-7")
    assert (first.status, again.status) == (201, 201)
    assert again.body == first.body
    assert b"active subscribers: 3" in again.body


async def test_other_keys_and_channels_are_others(site: Site) -> None:
    """A key counts for its channel; keys differ also in case."""
    for key in (b"k", b"K", b"!", b"~" * 255):
        await post(site, key)
    await post(site, b"k", "b")
    assert (await count("a"), await count("b")) == (4, 1)


async def test_update_and_post_share_their_keys(site: Site) -> None:
    """A key of send_update and that of a POST are the same."""
    receipt = await asend_update("a", 1, idempotency_key="order-7")
    answer = await post(site, b"order-7")
    assert receipt is not None
    assert answer.status == receipt.status
    assert await count() == 1


async def test_refused_post_may_be_repeated(site: Site) -> None:
    """A POST that was refused leaves no receipt."""
    assert (await post(site, b"order-7", body=b"x" * 101)).status == 413
    assert (await post(site, b"order-7")).status == 202
    assert await count() == 1


async def test_posts_at_the_same_time(site: Site) -> None:
    """Repeated POSTs that arrive at the same time are published once."""
    answers = await asyncio.gather(*(post(site, b"order-7") for _ in range(20)))
    assert len({(each.status, each.body) for each in answers}) == 1
    assert await count() == 1


@pytest.mark.parametrize(
    "key", [b"", b"a b", b"a, a", b"\xe4", b"x" * 256, b"a\tb", b"\x00"]
)
async def test_invalid_key_is_refused(site: Site, key: bytes) -> None:
    """A key that is not 1 to 255 visible ASCII characters is answered 400."""
    answer = await post(site, key)
    assert answer.status == 400
    assert b"dempotency key" in answer.body


async def test_key_is_sent_back_if_it_is_recognized_everywhere(site: Site) -> None:
    """The answer repeats the key, unless another process might not recognize it."""
    answer = await post(site, b"order-7")
    is_alone = not hubs.get("default").store.is_shared
    assert answer["idempotency-key"] == ("order-7" if is_alone else None)
    assert (await post(site, None))["idempotency-key"] is None


def make_receipts() -> tuple[Receipts, list[float]]:
    """Return receipts, and a list with the time of their clock."""
    now = [0.0]
    return Receipts(lambda: now[0]), now


def test_receipts_end() -> None:
    """A receipt is kept for five minutes, and that of a publisher's retry for one."""
    receipts, now = make_receipts()
    for key, seconds in (("order-7", 300), ("retry-7", 300), (make_retry_key(), 60)):
        start = now[0]
        receipts.keep("a", key, (True, INFO))
        now[0] = start + seconds - 0.1
        assert receipts.find("a", key) == (True, INFO)
        now[0] = start + seconds
        assert receipts.find("a", key) is None


def test_receipts_are_limited() -> None:
    """Above the limit the oldest receipts are dropped; retries drop no others."""
    receipts, _ = make_receipts()
    for number in range(MAX_RECEIPTS + 5):
        receipts.keep("a", f"{number}", (False, INFO))
    for _ in range(MAX_RECEIPTS + 5):
        receipts.keep("a", make_retry_key(), (False, INFO))
    known = [
        receipts.find("a", f"{number}") is not None
        for number in range(MAX_RECEIPTS + 5)
    ]
    assert known == [False] * 5 + [True] * MAX_RECEIPTS


async def test_waiting_publishers_try_after_a_failure() -> None:
    """If the first of several fails, the next one publishes."""
    receipts, _ = make_receipts()
    attempts = itertools.count()

    async def publish() -> StoredReceipt:
        number = next(attempts)
        await asyncio.sleep(0)
        if number == 0:
            raise OSError("unavailable")
        return (True, INFO._replace(messages=number))

    results = await asyncio.gather(
        *(receipts.publish_once("a", "k", publish) for _ in range(3)),
        return_exceptions=True,
    )
    assert isinstance(results[0], OSError)
    assert results[1] == results[2] == (True, INFO)
