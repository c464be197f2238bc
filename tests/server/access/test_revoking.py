"""Rights that are revoked. Source: streams, section 6."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import override_settings

from pushserver.access import RevocationError, arevoke
from pushserver.updates import subscriber_url
from pushserver_channels.followers import find_hub
from tests.server import rules
from tests.server.exchanges import Site, id_headers, until_held
from tests.server.streams import SocketExchange, open_stream
from tests.waiting import until

from .subscribing import (
    ANNA,
    BOB,
    OLDEST,
    Serving,
    Transport,
    guarded,
    poll,
    signed,
    socket,
    stream,
)

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("ask", [poll, stream, socket])
async def test_a_revoked_right_ends_at_once(serve: Serving, ask: Transport) -> None:
    """A held request, a stream and a socket end when the user's right is revoked."""
    site = guarded(serve)
    asking = asyncio.ensure_future(hold(ask, site, "/updates/anna", ANNA))
    staying = asyncio.ensure_future(hold(ask, site, "/updates/bob", BOB))
    await until_held("anna")
    await until_held("bob")
    rules.banned.add("anna")
    await arevoke(user="anna")
    assert await asking == 403
    assert await ask(site, "/updates/anna", ANNA) == 403
    await arevoke(channel_id="bob")
    assert await staying == 403
    await site.post("bob")
    assert await poll(site, "/updates/bob", [*BOB, *OLDEST]) == 200


async def test_a_poll_of_who_has_all_messages_is_revoked(serve: Serving) -> None:
    """A request that is held without asking the store ends like others."""
    site = guarded(serve)
    await site.post("anna")
    first = await site.ask("GET", "/updates/anna", [*ANNA, *OLDEST])
    held = await site.hold("/updates/anna", [*ANNA, *id_headers(first)])
    rules.banned.add("anna")
    await arevoke(user="anna")
    assert (await held.answer()).status == 403


async def hold(ask: Transport, site: Site, path: str, headers: Any) -> int:
    """Wait for the end of a subscription, and return why it ended."""
    if ask is poll:
        return (await site.ask("GET", path, headers)).status
    if ask is socket:
        held = SocketExchange(site, path, headers, ["ws+meta.pushserver"])
        return (await held.until_closed() or 0) - 4000
    live = await open_stream(site, path, headers)
    await live.until_ended()
    assert [each.name for each in live.events] == ["push-denied"]
    return 403


async def test_a_revoked_token_is_refused(serve: Serving) -> None:
    """Tokens from before a revocation are refused, and later ones are not."""
    site = signed(serve)
    await site.post("a")
    other = subscriber_url("a", user="bob", session="two")
    old = subscriber_url("a", user="anna", session="one")
    assert await poll(site, old, OLDEST) == 200
    await arevoke(user="anna")
    await until_revoked(1)
    assert await poll(site, old, OLDEST) == 401
    assert await poll(site, other, OLDEST) == 200
    new = subscriber_url("a", user="anna", session="one")
    assert await poll(site, new, OLDEST) == 200
    await arevoke(session="one")
    await until_revoked(2)
    assert await poll(site, new, OLDEST) == 401
    await arevoke(user="bob", channel_id="b")
    await until_revoked(3)
    assert await poll(site, other, OLDEST) == 200
    await arevoke(user="bob", channel_id="a")
    await until_revoked(4)
    assert await poll(site, other, OLDEST) == 401


async def until_revoked(count: int) -> None:
    """Wait until so many revocations were read."""
    (cursor,) = find_hub("default").waiting["revocations"]
    await until(lambda: cursor.count == count)  # type: ignore[attr-defined]


async def test_remembered_permissions_are_forgotten(serve: Serving) -> None:
    """After a revocation the function is asked again, also if it was being asked."""
    site = guarded(serve)
    cookie = [(b"cookie", b"sessionid=anna")]
    await site.post("anna")
    assert await poll(site, "/updates/anna", [*cookie, *OLDEST]) == 200
    rules.banned.add("anna")
    await arevoke(user="anna")
    await until_revoked(1)
    assert await poll(site, "/updates/anna", [*cookie, *OLDEST]) == 403
    rules.banned.clear()
    rules.calls.clear()
    rules.gate.clear()
    asking = site.exchange("GET", "/updates/anna", [*cookie, *OLDEST]).start()
    await until(lambda: rules.calls)
    await arevoke(user="anna")
    await until_revoked(2)
    rules.gate.set()
    assert (await asking.answer()).status == 200
    assert len(rules.calls) == 2


async def test_what_cannot_be_revoked(serve: Serving) -> None:
    """A revocation says why it cannot be made."""
    signed(serve)
    with pytest.raises(ValueError, match="needs a user"):
        await arevoke()
    with pytest.raises(RevocationError, match="memory"):
        await arevoke(user="anna")
    with override_settings(PUSH_SERVER={}), pytest.raises(ValueError, match="nothing"):
        await arevoke(user="anna")


async def test_the_right_to_a_presence_channel_is_that_to_the_other_one(
    serve: Serving,
) -> None:
    """It cannot be revoked by itself, unless it is an ordinary channel."""
    signed(serve, presence=True)
    with pytest.raises(ValueError, match="that to 'room': revoke"):
        await arevoke(channel_id="presence:room")
    signed(serve)
    with pytest.raises(RevocationError, match="memory"):
        await arevoke(channel_id="presence:room")
