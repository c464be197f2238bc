"""How long a member stays, and what a hidden page says. Source: streams, section 7."""

from __future__ import annotations

import asyncio

import pytest

from pushserver_channels.hub import hubs
from tests.server.exchanges import id_headers
from tests.server.streams import leave, open_socket
from tests.waiting import until

from .visitors import Serving, come, count_subscribers, visitor, watch


async def test_who_polls_again_has_not_left(serve: Serving) -> None:
    """Neither a member nor the number of others changes between two polls."""
    site = serve(presence_grace=5)
    watching = await watch(site, "room")
    await site.post("room")
    answer = await site.ask("GET", "/updates/room", visitor("anna"))
    for user in ("anna", None):
        for _ in range(3):
            poll = site.exchange(
                "GET", "/updates/room", [*visitor(user), *id_headers(answer)]
            ).start()
            await until(lambda: count_subscribers("room") == 1)
            await site.post("room")
            answer = await poll.answer()
    await watching.until_here("anna", others=1)
    assert [len(each["joins"]) for each in watching.diffs] in ([1, 0], [1])
    assert all(each["leaves"] == {} for each in watching.diffs)
    await watching.end()


async def test_a_reload_is_not_noticed(serve: Serving) -> None:
    site = serve(presence_grace=5)
    watching = await watch(site, "room")
    for _ in range(5):
        page = await come(site, "room", "anna")
        await leave(page)
    bob = await come(site, "room", "bob")
    await watching.until_here("anna", "bob")
    assert sum("anna" in each["joins"] for each in watching.diffs) == 1
    assert all(each["leaves"] == {} for each in watching.diffs)
    await leave(bob)
    await watching.end()


async def test_a_stream_of_a_hidden_page_stays_longer(serve: Serving) -> None:
    """It says so in its URL, as a poll does."""
    site = serve(presence_grace=0, presence_hidden_grace=5)
    watching = await watch(site, "room")
    hidden = await come(site, "room", "anna", query="?hidden=1")
    visible = await come(site, "room", "bob", query="?hidden=0")
    await watching.until_here("anna", "bob")
    await leave(hidden, visible)
    await watching.until_here("anna")
    await watching.end()


async def test_a_socket_says_that_its_page_is_hidden_or_visible(
    serve: Serving,
) -> None:
    site = serve(presence_grace=0, presence_hidden_grace=5)
    watching = await watch(site, "room")
    anna = await open_socket(site, "/updates/room", visitor("anna"))
    bob = await open_socket(site, "/updates/room", visitor("bob"), held=2)
    await watching.until_here("anna", "bob")
    anna.say("hidden")
    bob.say("hidden")
    bob.say("visible")
    for each in (anna, bob):
        each.say("ping")
        await each.until(1)
        each.disconnect()
        await each.end()
    await watching.until_here("anna")
    await watching.end()


async def test_a_notice_keeps_a_member_whose_stream_is_cut(serve: Serving) -> None:
    """A POST without a body, as a page can send it when it becomes hidden."""
    site = serve(presence_grace=0, presence_hidden_grace=1)
    watching = await watch(site, "room")
    anna, bob = await come(site, "room", "anna"), await come(site, "room", "bob")
    await watching.until_here("anna", "bob")
    path = "/updates/room,presence:room?hidden=1"
    answer = await site.ask("POST", path, visitor("anna"))
    assert (answer.status, answer.body) == (204, b"")
    again = await site.ask("POST", path, visitor("anna"))
    assert again.status == 204
    await leave(anna, bob)
    await watching.until_here("anna")
    await watching.until_here()
    await watching.end()


async def test_a_notice_of_a_stranger_is_refused(serve: Serving) -> None:
    site = serve()
    answer = await site.ask("POST", "/updates/secret?hidden=1", visitor("eve"))
    assert answer.status == 403
    assert (await site.ask("POST", "/updates/room", visitor("eve"))).status == 405


async def test_a_notice_of_an_anonymous_visitor_counts_nobody(serve: Serving) -> None:
    site = serve()
    watching = await watch(site, "room")
    anna = await come(site, "room", None)
    await watching.until_here(others=1)
    assert (await site.ask("POST", "/updates/room?hidden=1")).status == 204
    bob = await come(site, "room", "bob")
    await watching.until_here("bob", others=1)
    await leave(anna, bob)
    await watching.end()


async def test_a_stopping_server_tells_nobody_that_all_have_left(
    serve: Serving,
) -> None:
    """Its visitors are back at the next one before their grace is over."""
    site = serve(presence_grace=0)
    watching = await watch(site, "room")
    anna = await come(site, "room", "anna")
    await watching.until_here("anna")
    told = len(watching.diffs)
    await asyncio.gather(hubs.stop(), anna.until_ended(), watching.stream.until_ended())
    watching.read()
    assert len(watching.diffs) == told


@pytest.mark.parametrize("accept", [True, False])
async def test_a_location_without_presence_tells_nothing(
    serve: Serving, accept: bool
) -> None:
    """There, an id with the prefix is as good as any other."""
    site = serve(presence=False)
    await site.post("presence:room", b"hello")
    answer = await site.ask("GET", "/updates/presence:room", visitor("anna"))
    assert answer.body == b"hello"
    refused = await site.ask("POST", "/updates/room?hidden=1", visitor("anna"))
    assert refused.status == 405
