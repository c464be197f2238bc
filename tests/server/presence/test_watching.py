"""The channels that tell who is on another one. Source: streams, section 7."""

from __future__ import annotations

import json

import pytest

from pushserver_channels.hub import hubs
from pushserver_channels.messages import START
from tests.server.exchanges import id_headers
from tests.server.streams import EVENTS, leave, open_socket
from tests.waiting import until

from .visitors import Serving, Watcher, come, visitor, watch


async def until_change(after: int) -> int:
    """Wait until a change is published in a later second; return that second."""
    store = hubs.get("default").store

    async def find_later() -> int:
        newest = (await store.info("presence:room")).last_message_id.time
        return newest if newest > after else 0

    found: int = await until(find_later)
    return found


@pytest.mark.usefixtures("real_interval")
async def test_a_watcher_is_told_who_is_there_and_who_comes_and_goes(
    serve: Serving,
) -> None:
    """First the state, then changes; watching joins nobody."""
    site = serve()
    anna = await come(site, "room", "anna", {"name": "Anna"})
    watching = await watch(site, "room", visitor("eve"))
    await watching.until_here("anna")
    bob = await come(site, "room", "bob")
    await watching.until_here("anna", "bob")
    assert watching.infos == {"anna": {"name": "Anna"}, "bob": None}
    await leave(anna)
    await watching.until_here("bob")
    assert watching.states == 1
    assert watching.diffs[-1]["leaves"] == {"anna": {"info": {"name": "Anna"}}}
    await leave(bob)
    await watching.until_here()
    await watching.end()
    page = await hubs.get("default").store.page("presence:room", START, 10)
    seconds = [each.id.time for each in page]
    assert len(set(seconds)) == len(seconds) == 4


async def test_the_same_user_is_one_member_whatever_the_transport(
    serve: Serving,
) -> None:
    """A stream, a socket and a poll: one member until the last has ended."""
    site = serve()
    watching = await watch(site, "room")
    anna = await come(site, "room", "anna")
    await watching.until_here("anna")
    socket = await open_socket(site, "/updates/room", visitor("anna"), held=2)
    poll = site.exchange("GET", "/updates/room", visitor("anna")).start()
    await until(lambda: len(hubs.get("default").waiting["room"]) == 3)
    await leave(anna)
    socket.disconnect()
    await socket.end()
    assert watching.members.keys() == {"anna"}
    poll.disconnect()
    await poll.end()
    await watching.until_here()
    assert [len(each["joins"]) for each in watching.diffs] == [1, 0]
    await watching.end()


async def test_the_info_of_the_newest_connection_is_told_once(serve: Serving) -> None:
    """It is told as a member who joins, though he is there already."""
    site = serve()
    watching = await watch(site, "room")
    first = await come(site, "room", "anna", {"name": "Anna"})
    await watching.until_here("anna")
    second = await come(site, "room", "anna", {"name": "Anna B."})
    await watching.until(lambda seen: seen.infos["anna"] == {"name": "Anna B."})
    third = await come(site, "room", "anna", {"name": "Anna B."})
    bob = await come(site, "room", "bob")
    await watching.until_here("anna", "bob")
    told = [each for each in watching.diffs if "anna" in each["joins"]]
    assert len(told) == 2
    await leave(first, second, third, bob)
    await watching.end()


async def test_anonymous_visitors_are_counted(serve: Serving) -> None:
    site = serve()
    watching = await watch(site, "room")
    visitors = [await come(site, "room", None) for _ in range(3)]
    await watching.until_here(others=3)
    await leave(*visitors)
    await watching.until_here(others=0)
    await watching.end()


async def test_a_poll_is_given_the_state_and_then_the_changes(serve: Serving) -> None:
    """A poll without a position gets the state; the next waits for the next change."""
    site = serve(timeout=0.05)
    answer = await site.ask("GET", "/updates/presence:room")
    assert json.loads(answer.body) == {"type": "state", "members": {}, "others": 0}
    assert answer["content-type"] == "application/json"
    position = id_headers(answer)
    assert (await site.ask("GET", "/updates/presence:room", position)).status == 304
    anna = await come(site, "room", "anna")
    poll = site.exchange("GET", "/updates/presence:room", position).start()
    changed = await poll.answer()
    while changed.status == 304:
        changed = await site.ask("GET", "/updates/presence:room", position)
    # It has the state of an empty channel, before which nothing was told.
    seen = Watcher()
    seen.take(changed.body)
    assert set(seen.members) == {"anna"}
    assert (
        await site.ask("GET", "/updates/presence:room", id_headers(changed))
    ).status == 304
    await leave(anna)


async def test_a_poll_is_given_the_first_change_and_not_the_state_again(
    serve: Serving, request: pytest.FixtureRequest
) -> None:
    """Also if it was told when the poll had the state, and had not asked again.

    Over a channel layer a process does not know whether others were told something
    before the first message that it receives, so it gives the state, as documented.
    """
    first = "diff" if request.node.callspec.params["serve"] == "memory" else "state"
    site = serve()
    answer = await site.ask("GET", "/updates/presence:room")
    assert json.loads(answer.body)["type"] == "state"
    anna = await come(site, "room", "anna")
    await until_change(0)
    changed = await site.ask("GET", "/updates/presence:room", id_headers(answer))
    assert json.loads(changed.body)["type"] == first
    await leave(anna)


@pytest.mark.usefixtures("real_interval")
async def test_a_poll_that_missed_the_first_change_is_given_the_state(
    serve: Serving,
) -> None:
    site = serve({"max_messages": 1})
    position = id_headers(await site.ask("GET", "/updates/presence:room"))
    visitors = [await come(site, "room", "anna")]
    first = await until_change(0)
    visitors.append(await come(site, "room", "bob"))
    await until_change(first)
    answer = await site.ask("GET", "/updates/presence:room", position)
    state = json.loads(answer.body)
    assert state["type"] == "state"
    assert set(state["members"]) == {"anna", "bob"}
    await leave(*visitors)


async def test_a_client_that_missed_changes_is_given_the_state(serve: Serving) -> None:
    """A poll and a stream whose position the store does not have any more."""
    site = serve({"max_messages": 1})
    watching = await watch(site, "room")
    first = await come(site, "room", "anna")
    await watching.until_here("anna")
    position = watching.stream.id
    await watching.end()
    watching = await watch(site, "room")
    second = await come(site, "room", "bob")
    await watching.until_here("anna", "bob")
    third = await come(site, "room", "carl")
    await watching.until_here("anna", "bob", "carl")
    other = await watch(site, "room", query=f"?last_event_id={position}")
    await other.until_here("anna", "bob", "carl")
    assert other.states == 1
    date, tag = position.split(":")
    answer = await site.ask(
        "GET", f"/updates/presence:room?last_event_id={date}%3A{tag}"
    )
    assert json.loads(answer.body)["type"] == "state"
    await leave(first, second, third)
    await other.end()
    await watching.end()


async def test_a_quiet_stream_that_is_cut_leads_to_the_state_again(
    serve: Serving,
) -> None:
    """The head of a stream that begins with the state has a position before it."""
    site = serve()
    watching = await watch(site, "room")
    assert watching.stream.text.partition("id: ")[2].startswith("0:0\n")
    await watching.end()
    again = await watch(site, "room", query="?last_event_id=0:0")
    await again.until(lambda seen: seen.states)
    await again.end()


async def test_of_many_members_only_the_number_is_told(serve: Serving) -> None:
    """Over the limit nobody is named, and all are again when enough have left."""
    site = serve(presence_limit=2)
    watching = await watch(site, "room")
    anna, bob = [await come(site, "room", each) for each in ("anna", "bob")]
    await watching.until_here("anna", "bob")
    carl = await come(site, "room", "carl")
    await watching.until(lambda seen: seen.count == 3)
    assert watching.members == {}
    late = await watch(site, "room")
    assert (late.count, late.members) == (3, {})
    await late.end()
    await leave(carl)
    await watching.until(lambda seen: seen.count == 2)
    await leave(bob)
    await watching.until_here("anna")
    assert watching.count is None
    assert watching.states == 2
    await leave(anna)
    await watching.end()


async def test_several_channels_are_watched_on_one_connection(serve: Serving) -> None:
    """The channel and who is there, on one stream and in one batch."""
    site = serve()
    path = "/updates/room,presence:room"
    answer = await site.ask("GET", f"{path}?batch=1", [EVENTS, *visitor("anna")])
    assert b'"type":"state"' in answer.body.replace(b" ", b"")
    stream = await come(site, "room,presence:room", "anna")

    def is_there() -> bool:
        stream.read()
        return any("anna" in each for each in stream.bodies)

    await until(is_there)
    await site.post("room", b"hello")
    await until(lambda: stream.read() or "hello" in stream.bodies)
    await leave(stream)


@pytest.mark.parametrize("key", ["__proto__", 'a"b', "ü\n/", "constructor"])
async def test_any_key_is_told_as_it_is(serve: Serving, key: str) -> None:
    from urllib.parse import quote

    site = serve(authorize="tests.server.presence.visitors.may_listen_quoted")
    watching = await watch(site, "room")
    someone = await come(site, "room", quote(key))
    await watching.until_here(key)
    await leave(someone)
    await watching.end()


async def test_what_is_no_json_is_not_told(
    serve: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    site = serve(authorize="tests.server.presence.visitors.may_listen_strangely")
    watching = await watch(site, "room")
    anna = await come(site, "room", "anna")
    await watching.until_here("anna")
    assert watching.infos == {"anna": None}
    assert "no JSON" in caplog.text
    await leave(anna)
    await watching.end()


async def test_a_large_state_is_read_anew_after_a_gap(serve: Serving) -> None:
    """It is kept for a moment for others, but not given to who has it already."""
    site = serve({"max_messages": 1}, presence_grace=5)
    users = [f"user{number}" for number in range(60)]
    visitors = [await come(site, "room", each) for each in users]
    watching = await watch(site, "room")
    await watching.until_here(*users)
    position = watching.stream.id
    late: list[str] = []
    for name in ("anna", "bob", "carl"):
        late.append(name)
        visitors.append(await come(site, "room", name))
        await watching.until(lambda seen, name=name: name in seen.members)
        if len(late) > 1:  # The first change alone is no gap.
            again = await watch(site, "room", query=f"?last_event_id={position}")
            await again.until_here(*users, *late)
            await again.end()
    await leave(*visitors)
    await watching.end()


async def test_changes_expire_though_messages_do_not(serve: Serving) -> None:
    """Visitors cause them, so they must not fill a store that keeps all messages."""
    site = serve(presence_grace=5)
    watching = await watch(site, "room")
    anna = await come(site, "room", "anna")
    await watching.until_here("anna")
    page = await hubs.get("default").store.page("presence:room", START, 10)
    assert [each.expires for each in page] == [600]
    await leave(anna)
    await watching.end()
