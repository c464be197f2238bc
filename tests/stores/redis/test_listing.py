"""``manage.py pushserver_channels``: the channels of a store, from another process."""

from __future__ import annotations

import asyncio
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from pushserver.listing import ListedChannel, Listing, ListingError, list_channels
from pushserver_channels.hub import hubs
from pushserver_channels.listing import ListingRequest
from tests.valkey import Cluster

from .actions import MakeStore, append


async def run(*arguments: str) -> tuple[list[str], str]:
    """Run the command; return its lines, and what it has written to stderr."""
    out, errors = StringIO(), StringIO()
    await asyncio.to_thread(
        call_command, "pushserver_channels", *arguments, stdout=out, stderr=errors
    )
    return out.getvalue().splitlines(), errors.getvalue()


@pytest.mark.usefixtures("push_server")
async def test_channels_are_listed_by_their_ids(make: MakeStore) -> None:
    """Each line has the messages, the processes that listen, and the last id."""
    one, other = make(), make()
    for channel_id in ("b", "News", "a", "new\x1b"):
        await append(one, b"1", channel_id)
    newest = await append(one, b"2", "a")
    for store in (one, other):
        store.listen("a")
        await store.next("a", newest.id)
    lines, errors = await run()
    assert lines[0].split() == ["messages", "processes", "last", "id", "channel"]
    assert [each.split()[3] for each in lines[1:]] == ["News", "a", "b", r"new\x1b"]
    assert [each.split()[:2] for each in lines[1:3]] == [["1", "0"], ["2", "2"]]
    assert errors == ""
    lines, errors = await run("NEW")
    assert [each.split()[3] for each in lines[1:]] == ["News", r"new\x1b"]
    lines, errors = await run("--limit", "2")
    assert [each.split()[3] for each in lines[1:]] == ["News", "a"]
    assert errors == "The first 2 of 4 channels.\n"
    lines, _ = await run("--store", "other")
    assert len(lines) == 1
    with pytest.raises(CommandError, match=r"no store 'othr'.*'other'"):
        await run("--store", "othr")


@pytest.mark.left_to_all("channels of a cluster")
async def test_channels_of_a_cluster(make: MakeStore) -> None:
    """The processes are counted at the servers of the channels."""
    with Cluster(2) as cluster:
        store = make(cluster.url)
        for channel_id in ("a", "b", "c"):
            await append(store, b"1", channel_id)
        store.listen("b")
        await store.next("b", (await store.info("b")).last_message_id)
        found = await store.count_listening(["a", "b", "c"])
        assert found == {"a": 0, "b": 1, "c": 0}


async def test_a_store_in_memory_is_asked_by_its_own_process_only() -> None:
    """Another process says why it knows nothing."""
    hubs.reset()
    with override_settings(PUSH_SERVER={"store": {"type": "memory"}}):
        with pytest.raises(ListingError, match="in the memory of the push server"):
            await asyncio.to_thread(list_channels, "", 10)
        hub = hubs.get("default")
        await hub.create("a")
        listing = await ListingRequest("default", "A", 10).send()
        assert listing == Listing([ListedChannel("a", 0, "0:0", 0)], 1)
    hubs.reset()


async def test_a_store_that_is_not_reached() -> None:
    hubs.reset()
    conf = {"store": {"type": "redis", "url": "redis://127.0.0.1:1/0"}}
    with (
        override_settings(PUSH_SERVER=conf),
        pytest.raises(ListingError, match="Redis at redis://127.0.0.1:1/0"),
    ):
        await asyncio.to_thread(list_channels, "", 10)
