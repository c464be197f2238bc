"""Who may watch a channel, and who may publish there. Source: streams, section 7."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver.access import arevoke
from pushserver.publishers import PublishError
from pushserver.updates import send_update, subscriber_url
from pushserver_channels.routing import get_application
from tests.server.access.subscribing import TRANSPORTS, Transport
from tests.server.exchanges import Site, django
from tests.server.streams import build_settings, leave, open_stream
from tests.waiting import until

from .visitors import Serving, come, visitor, watch


@pytest.mark.parametrize("ask", TRANSPORTS)
async def test_who_may_hear_a_channel_may_watch_it(
    serve: Serving, ask: Transport
) -> None:
    """The site is asked about the channel, not about its presence channel."""
    site = serve()
    assert await ask(site, "/updates/presence:room", visitor("anna")) == 200
    assert await ask(site, "/updates/presence:secret", visitor("anna")) == 403
    assert await ask(site, "/updates/presence:presence:secret", visitor("anna")) == 403


@pytest.mark.parametrize("ask", TRANSPORTS)
async def test_a_token_for_a_channel_lets_in_to_its_presence_channel(
    serve: Serving, ask: Transport
) -> None:
    """One for the presence channel alone does, too, and is not one for the channel."""
    site = serve(signed=True, authorize=None)
    token = subscriber_url("room", user="anna").partition("?")[2]
    assert await ask(site, f"/updates/presence:room?{token}", []) == 200
    assert await ask(site, f"/updates/presence:other?{token}", []) == 401
    alone = subscriber_url("presence:room", user="anna").partition("?")[2]
    assert await ask(site, f"/updates/presence:room?{alone}", []) == 200
    assert await ask(site, f"/updates/room?{alone}", []) == 401


async def test_the_user_and_the_info_of_a_token_are_told(serve: Serving) -> None:
    site = serve(signed=True, authorize=None)
    url = subscriber_url("room", user="anna", info={"name": "Anna"})
    query = url.partition("?")[2]
    watching = await watch(site, "room", query=f"?{query}")
    anna = await come(site, "room", None, query=f"?{query}")
    await watching.until_here("anna")
    assert watching.infos == {"anna": {"name": "Anna"}}
    await leave(anna)
    await watching.end()


async def test_a_revoked_right_ends_the_watching_as_well(serve: Serving) -> None:
    site = serve()
    watching = await watch(site, "room", visitor("anna"))
    other = await watch(site, "other", visitor("anna"))
    await arevoke(user="anna", channel_id="room")
    await watching.stream.until_ended()
    assert watching.stream.events[-1].name == "push-denied"
    await other.end()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nobody_publishes_on_a_presence_channel(
    serve: Serving, method: str
) -> None:
    site = serve()
    answer = await site.ask(method, "/send-update/presence:room", body=b"x")
    assert answer.status == 403
    assert b"presence:" in answer.body
    watching = await watch(site, "room")
    assert (await site.ask("GET", "/send-update/presence:room")).status == 200
    await watching.end()


def test_a_site_does_not_publish_there_either(serve: Serving) -> None:
    conf = build_settings(presence=True) | {"publisher": "direct"}
    conf["store"] = {"type": "redis", "port": 1}
    with (
        override_settings(PUSH_SERVER=conf),
        pytest.raises(PublishError, match="Nobody publishes"),
    ):
        send_update("presence:room", "x")


@pytest.fixture
def site_of_two() -> Iterator[Site]:
    """A location with presence, and one of the same store without."""
    conf: dict[str, Any] = build_settings(presence=True)
    conf["locations"].append(
        {
            "type": "subscriber",
            "url": "/open/([^/]+)",
            "create_on_get": True,
            "separator": ",",
            "timeout": 0.05,
        }
    )
    with override_settings(PUSH_SERVER=conf):
        yield Site(get_application(django))


@pytest.mark.parametrize("ask", TRANSPORTS)
async def test_the_prefix_is_reserved_in_a_store_with_presence(
    site_of_two: Site, ask: Transport
) -> None:
    """A location without presence refuses to tell who is on a channel."""
    assert await ask(site_of_two, "/open/presence:room", []) == 403
    assert await ask(site_of_two, "/open/presence:room,presence:other", []) == 403
    assert await ask(site_of_two, "/updates/presence:room", []) == 200
    answer = await site_of_two.ask("GET", "/open/presence:room")
    assert b"no presence" in answer.body


async def test_a_channel_beside_one_that_is_reserved_is_heard(
    site_of_two: Site,
) -> None:
    """So a page that watches where there is no presence keeps its other channels."""
    stream = await open_stream(site_of_two, "/open/room,presence:room", [])
    await stream.until(1)
    denied = stream.events[0]
    assert (denied.name, json.loads(denied.data)) == (
        *("push-denied", {"channel": "presence:room"}),
    )
    await site_of_two.post("room", b"hello")
    await until(lambda: stream.read() or "hello" in stream.bodies)
    await leave(stream)
    polled = await site_of_two.ask("GET", "/open/room,presence:room")
    assert (polled.status, polled.body) == (200, b"hello")
    assert polled["push-denied"] == "presence%3Aroom"


async def test_a_guarded_location_without_presence_asks_about_others_only() -> None:
    conf = build_settings(
        presence=True, authorize="tests.server.presence.visitors.may_listen"
    )
    guarded = {"url": "/open/([^/]+)", "presence": False, "separator": ","}
    conf["locations"].append(conf["locations"][1] | guarded)
    with override_settings(PUSH_SERVER=conf):
        site = Site(get_application(django))
        stream = await open_stream(site, "/open/room,secret,presence:room", [])
        await stream.until(2)
        assert [json.loads(each.data)["channel"] for each in stream.events] == [
            *("secret", "presence:room")
        ]
        await arevoke(channel_id="room")
        await stream.until_ended()
        answer = await site.ask("GET", "/open/secret,presence:room")
        assert answer.status == 403


async def test_a_presence_channel_may_have_a_longer_id(serve: Serving) -> None:
    site = serve(max_channel_id_length=10)
    watching = await watch(site, "r" * 10)
    await watching.end()
    assert (await site.ask("GET", f"/updates/presence:{'r' * 11}")).status == 400
