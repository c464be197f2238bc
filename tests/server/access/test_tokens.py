"""Signed URLs and Bearer tokens. Source: streams, section 6."""

from __future__ import annotations

import logging

import pytest
from django.test import override_settings

from pushserver.updates import subscriber_url
from pushserver_channels.routing import get_application
from tests.server import rules
from tests.server.exchanges import Site, django
from tests.server.streams import EventExchange, open_stream

from .subscribing import (
    ANNA,
    BOB,
    OLDEST,
    TRANSPORTS,
    Serving,
    Transport,
    guarded,
    poll,
    signed,
    stream,
)

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("ask", TRANSPORTS)
async def test_a_signed_url_lets_in(serve: Serving, ask: Transport) -> None:
    """A location with ``signed`` needs a token for the channel."""
    site = signed(serve)
    await site.post("a")
    url = subscriber_url("a", expires=60)
    assert await ask(site, url, OLDEST) == 200
    assert await ask(site, "/updates/a", OLDEST) == 401
    assert await ask(site, url.replace("/a", "/b"), OLDEST) == 401
    assert await ask(site, url[:-1], OLDEST) == 401
    token = url.partition("?token=")[2].encode()
    assert (
        await ask(site, "/updates/a", [*OLDEST, (b"authorization", b"Bearer " + token)])
        == 200
    )


async def test_all_bad_tokens_have_the_same_answer(serve: Serving) -> None:
    """A bad token, an expired one and one for another channel are not told apart."""
    site = signed(serve)
    expired = subscriber_url("a", expires=1e-6)
    answers = [
        await site.ask("GET", url)
        for url in (
            expired,
            subscriber_url("b").replace("/b", "/a"),
            "/updates/a?token=x",
            f"/updates/a?token={'x' * 5000}",
            "/updates/a?token=",
            "/updates/a?token=%ff",
        )
    ]
    assert len({(each.status, each.body) for each in answers}) == 1
    assert answers[0].status == 401
    assert {each["www-authenticate"] for each in answers} == {
        'Bearer error="invalid_token"'
    }
    answer = await site.ask("GET", "/updates/a")
    assert (answer.status, answer["www-authenticate"]) == (401, "Bearer")


async def test_tokens_of_several_channels(serve: Serving) -> None:
    """Tokens of several URLs travel together, and one may have several channels."""
    site = signed(serve)
    await site.post("a", b"1")
    await site.post("b", b"2")
    both = subscriber_url(["a", "b"])
    live = await open_stream(site, both, OLDEST)
    assert {each.data for each in await live.until(2)} == {"1", "2"}
    live.disconnect()
    await live.end()
    tokens = [subscriber_url(each).partition("?")[2] for each in "ab"]
    live = await open_stream(site, f"/updates/a,b?{'&'.join(tokens)}", OLDEST)
    assert {each.data for each in await live.until(2)} == {"1", "2"}
    live.disconnect()
    await live.end()
    answer = await site.ask("GET", f"/updates/a,b?{tokens[1]}", OLDEST)
    assert (answer.status, answer.body, answer["push-denied"]) == (200, b"2", "a")


async def test_a_token_that_expires_ends_the_stream(serve: Serving) -> None:
    site = signed(serve)
    live = await open_stream(site, subscriber_url("a", expires=0.3))
    await live.until_ended()
    assert [each.name for each in live.events] == ["push-expired"]


async def test_a_token_or_the_function(serve: Serving) -> None:
    """A location with both lets in who has a token, or whom the function lets in."""
    site = guarded(serve, signed=True)
    await site.post("anna")
    assert await poll(site, subscriber_url("anna"), OLDEST) == 200
    assert rules.calls == []
    assert await poll(site, "/updates/anna", [*OLDEST, *ANNA]) == 200
    assert await poll(site, "/updates/anna", [*OLDEST, *BOB]) == 403
    assert await poll(site, "/updates/anna?token=x", [*OLDEST, *BOB]) == 401


async def test_a_token_is_for_the_channels_of_one_store() -> None:
    """A token for a channel of one store opens no channel of that name in another."""
    location = {"type": "subscriber", "signed": True, "create_on_get": True}
    conf = {
        "store": {"default": {"type": "memory"}, "other": {"type": "memory"}},
        "locations": [
            {**location, "url": "/updates/(.+)", "name": "first"},
            {**location, "url": "/others/(.+)", "store": "other", "name": "second"},
        ],
    }
    with override_settings(PUSH_SERVER=conf):
        site = Site(get_application(django))
        first = subscriber_url("a", location="first")
        second = subscriber_url("a", location="second")
        assert await stream(site, second, []) == 200
        assert await stream(site, first.replace("updates", "others"), []) == 401


async def test_tokens_stand_in_no_log(
    serve: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site = guarded(serve, signed=True)
    url = subscriber_url("failing").replace("/failing", "/exit")
    assert await poll(site, url, []) == 503
    assert url.partition("?token=")[2] not in caplog.text


async def test_a_publisher_needs_no_right_to_listen(serve: Serving) -> None:
    site = guarded(serve)
    assert (await site.post("anna")).status in (201, 202)
    stream = EventExchange(site.application, "GET", "/send-update/anna")
    assert (await stream.answer()).status == 200
