from __future__ import annotations

import pytest

from .exchanges import Serve

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_subscribers_at_any_address_are_served(serve: Serve) -> None:
    """A subscriber location answers clients at any address."""
    site = serve(publisher={"allow_from": ["127.0.0.1"]})
    for client in (["10.0.0.1", 1], None):
        answer = await site.ask("GET", "/interval/a", client=client)
        assert answer.status == 304


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/send-update/b"), ("POST", "/send-update/b"), ("GET", "/interval/b")],
)
async def test_too_many_channels(serve: Serve, method: str, path: str) -> None:
    """A channel beyond max_channels gets 503; existing channels are still served."""
    site = serve(store={"max_channels": 1})
    assert (await site.post("a")).status == 202
    answer = await site.ask(method, path)
    assert answer.status == 503
    assert answer["retry-after"]
    assert answer.body == b"There are 1 channels already, which is the limit.\n"
    assert (await site.post("a")).status == 202
    await site.ask("DELETE", "/send-update/a")
    assert (await site.ask(method, path)).status < 400


async def test_too_many_channels_for_a_long_poll(serve: Serve) -> None:
    """A long poll on a channel beyond max_channels gets 503 and is not held."""
    site = serve(store={"max_channels": 1})
    await site.post("a")
    assert (await site.ask("GET", "/updates/b")).status == 503


async def test_too_many_channels_that_subscribers_wait_on(serve: Serve) -> None:
    """A subscriber of one more channel gets 503; publishers are not refused."""
    site = serve(store={"max_empty_channels": 1})
    assert (await site.ask("GET", "/interval/a")).status == 304
    held = await site.hold("/updates/b")
    assert await site.info("a") is None
    for path in ("/updates/c", "/interval/c"):
        answer = await site.ask("GET", path)
        assert answer.status == 503
        assert answer["retry-after"]
        assert answer.body == (
            b"Subscribers wait on 1 channels without a message already, which is the"
            b" limit.\n"
        )
    stream = await site.ask("GET", "/updates/c", [(b"accept", b"text/event-stream")])
    assert stream.status == 200
    assert b"event: push-unavailable\n" in stream.body
    assert (await site.post("c")).status == 202
    assert (await site.post("b", b"news")).status == 201
    assert (await held.answer()).body == b"news"
