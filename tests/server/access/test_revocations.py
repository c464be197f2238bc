"""Revocations that are read late, are malformed, or come in great number."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore

from pushserver.access import arevoke, revoking
from pushserver.access.permissions import Permission
from pushserver.publishers import Update
from pushserver.updates import subscriber_url
from pushserver_channels.access.remembered import RememberedPermissions
from pushserver_channels.access.revocation import Revocation
from pushserver_channels.access.revocations import CHANNEL
from pushserver_channels.access.right_index import RightIndex
from pushserver_channels.followers import find_hub
from pushserver_channels.hub import hubs, registry
from tests.server import rules
from tests.server.exchanges import Exchange, until_held
from tests.server.gated_store import GatedStore
from tests.server.streams import EVENTS, EventExchange, open_stream
from tests.waiting import until

from .subscribing import ANNA, OLDEST, Serving, guarded

pytestmark = pytest.mark.usefixtures("nothing_left")

COOKIE = [(b"cookie", b"sessionid=anna"), *OLDEST]


async def publish(body: bytes) -> None:
    """Publish a record as a revocation, and wait until it was read."""
    hub = find_hub("default")
    await hub.publish(Update(CHANNEL, body))
    newest = (await hub.info(CHANNEL)).last_message_id
    (cursor,) = hub.waiting[CHANNEL]
    await until(lambda: cursor.seen == newest and cursor._reading.done())  # type: ignore[attr-defined]


def record(**changes: Any) -> bytes:
    known = {"user": None, "channel": None, "session": None, "time": time.time()}
    return json.dumps({**known, **changes}).encode()


async def test_a_record_that_is_malformed(
    serve: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, ends nobody's right, and keeps no other one from being read."""
    site = serve(signed=True)
    url = subscriber_url("a", user="anna")
    await find_hub("default").publish(Update(CHANNEL, record(user=["a"])))
    live = await open_stream(site, url)
    assert live.status == 200
    bodies = [
        b"[1]",
        b"\xff",
        b"[" * 100_000,
        record(),
        record(user=7),
        record(user="anna", time="soon"),
        record(user="anna", time=float("inf")),
        record(user="anna", time=None),
    ]
    for body in bodies:
        await publish(body)
    assert caplog.text.count("A revocation cannot be read") == len(bodies) + 1
    assert not live.future.done()
    await arevoke(user="anna")
    await live.until_ended()
    assert [each.name for each in live.events] == ["push-denied"]


async def test_a_clock_that_is_behind(serve: Serving) -> None:
    """What was revoked stays so, and what was given later is not revoked."""
    site = serve(signed=True)
    await site.post("a")
    early = time.time() - 100
    live = await open_stream(site, subscriber_url("a", user="anna"))
    await publish(record(user="anna", time=early))
    assert not live.future.done()
    old = subscriber_url("a", user="anna")
    await publish(record(user="anna"))
    await live.until_ended()
    await publish(record(user="anna", time=early))
    assert (await site.ask("GET", old, OLDEST)).status == 401
    new = subscriber_url("a", user="anna")
    assert (await site.ask("GET", new, OLDEST)).status == 200


async def test_the_channel_of_the_revocations_is_deleted(serve: Serving) -> None:
    """Revocations are read on, as after Redis was emptied."""
    site = serve(signed=True)
    live = await open_stream(site, subscriber_url("a", user="anna"))
    await publish(record(user="bob"))
    await find_hub("default").delete(CHANNEL)
    await arevoke(user="anna")
    await live.until_ended()
    assert [each.name for each in live.events] == ["push-denied"]


async def test_revocations_of_others_do_not_repeat_a_call(serve: Serving) -> None:
    """A site where somebody logs out all the time still answers."""
    site = guarded(serve)
    await site.post("anna")
    await site.ask("GET", "/updates/bob", ANNA)  # It begins to read revocations.
    rules.calls.clear()
    rules.gate.clear()
    asking = site.exchange("GET", "/updates/anna", [*ANNA, *OLDEST]).start()
    await until(lambda: rules.calls)
    await publish(record(user="bob"))
    rules.gate.set()
    assert (await asking.answer()).status == 200
    assert len(rules.calls) == 1


async def test_a_remembered_right_is_revoked_while_another_is_asked_for(
    serve: Serving,
) -> None:
    """Of several channels, the one whose right has ended meanwhile is refused."""
    site = guarded(serve)
    await site.post("anna-1", b"secret")
    await site.post("anna-2", b"two")
    assert (await site.ask("GET", "/updates/anna-1", COOKIE)).status == 200
    rules.gate.clear()
    rules.calls.clear()
    path = "/updates/anna-1,anna-2"
    asking = site.exchange("GET", path, COOKIE).start()
    await until(lambda: rules.calls)
    await publish(record(channel="anna-1"))
    rules.gate.set()
    answer = await asking.answer()
    assert (answer.body, answer["push-denied"]) == (b"two", "anna-1")


@pytest.mark.parametrize("polling", ["long", "interval"])
@pytest.mark.parametrize("several", [False, True])
async def test_a_right_that_is_revoked_while_the_store_is_asked(
    serve: Serving, polling: str, several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to an earlier question is discarded."""
    monkeypatch.setattr(registry, "make_store", GatedStore)
    site = serve(signed=True, polling=polling)
    store = hubs.get("default").store
    assert isinstance(store, GatedStore)
    await site.post("a", b"secret")
    await site.post("b", b"other")
    url = subscriber_url(["a", "b"] if several else "a", user="anna")
    revocations = find_hub("default").store
    assert isinstance(revocations, GatedStore)
    asking = site.exchange("GET", url, OLDEST).start()
    await store.looked.wait()
    await publish(record(user="anna"))
    store.gate.set()
    assert (await asking.answer()).status == 503
    assert (await site.ask("GET", url, OLDEST)).status == 401


async def test_a_channel_of_a_stream_is_revoked_while_the_store_is_asked(
    serve: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message that was found meanwhile is not sent; other channels go on."""
    monkeypatch.setattr(registry, "make_store", GatedStore)
    site = serve(signed=True)
    store = hubs.get("default").store
    assert isinstance(store, GatedStore)
    await site.post("a", b"secret")
    await site.post("b", b"other")
    store.gate.set()
    path = subscriber_url(["a", "b"], user="anna")
    live = EventExchange(site.application, "GET", path, [EVENTS, *OLDEST])
    send = live.output_queue.put

    async def close_gate(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":  # The positions were looked up.
            store.gate.clear()
            store.looked.clear()
        await send(event)

    monkeypatch.setattr(live.output_queue, "put", close_gate)
    live.start()
    await store.looked.wait()
    await until(lambda: not store.gate.is_set() and store.looked.is_set())
    await publish(record(user="anna", channel="a"))
    store.gate.set()
    await live.until(2)
    assert {(each.name, each.data) for each in live.events} == {
        ("push-denied", '{"channel": "a"}'),
        ("message", "other"),
    }
    live.disconnect()
    await live.end()


async def test_a_session_that_has_ended(serve: Serving) -> None:
    """Its right is not granted again, although the session is not deleted yet."""
    site = guarded(serve)
    await site.post("anna")
    session = SessionStore()
    session["name"] = "anna"
    session.save()
    key = session.session_key
    cookie = [(b"cookie", f"sessionid={key}".encode()), *ANNA, *OLDEST]
    assert (await site.ask("GET", "/updates/anna", cookie)).status == 200
    request = SimpleNamespace(session=session)
    await asyncio.to_thread(revoking._revoke_session, request)
    (cursor,) = find_hub("default").waiting[CHANNEL]
    await until(lambda: cursor.count == 1)  # type: ignore[attr-defined]
    assert (await site.ask("GET", "/updates/anna", cookie)).status == 403
    await arevoke(user="anna")  # It does not make the function be asked for ever.
    assert (await site.ask("GET", "/updates/anna", cookie)).status == 403
    assert (await site.ask("GET", "/updates/anna", [*ANNA, *OLDEST])).status == 200


async def test_the_server_stops_while_the_function_is_asked(serve: Serving) -> None:
    """Subscribers are answered at once, also those that come later."""
    site = guarded(serve)
    rules.gate.clear()
    asking = [site.exchange("GET", "/updates/anna", ANNA).start() for _ in range(12)]
    await until(lambda: len(rules.calls) == 8)
    await hubs.stop()
    asking.append(site.exchange("GET", "/updates/anna", ANNA).start())
    assert {(await each.answer()).status for each in asking} == {503}
    assert not rules.gate.is_set()
    rules.gate.set()


async def test_functions_that_fail_for_several_channels(serve: Serving) -> None:
    """No failure is left without anyone who looks at it."""
    site = guarded(serve)
    cookie = [(b"cookie", b"sessionid=anna")]
    rules.gate.clear()
    asking: list[Exchange] = [
        site.exchange("GET", path, cookie).start()
        for path in ("/updates/failing", "/updates/failing,exit")
    ]
    await until(lambda: len(rules.calls) == 2)
    rules.gate.set()
    assert {(await each.answer()).status for each in asking} == {503}


@pytest.mark.parametrize("several", [False, True])
async def test_a_right_that_has_ended_already(serve: Serving, several: bool) -> None:
    """Nothing is sent to whom it was granted until yesterday."""
    site = guarded(serve, "past")
    await site.post("anna")
    path = "/updates/anna,bob" if several else "/updates/anna"
    answer = await site.ask("GET", path, [*ANNA, *OLDEST])
    assert answer.status == 401


async def test_what_is_kept_of_rights(serve: Serving) -> None:
    """Nothing is, once the subscribers are gone; and rights are found by all names."""
    site = guarded(serve)
    live = await open_stream(site, "/updates/anna-1,anna-2", ANNA)
    await until_held("anna-2")
    (leases,) = {
        each.observers[-1]
        for waiting in hubs.get("default").waiting.values()
        for each in waiting
    }
    assert len(leases._index) == 3  # type: ignore[attr-defined]
    live.disconnect()
    await live.end()
    assert (len(leases._index), leases._leases) == (0, {})  # type: ignore[attr-defined]


def test_the_rights_of_one_of_many() -> None:
    index: RightIndex[int] = RightIndex()
    for number in range(10):
        right = Permission(user=str(number % 2), session=str(number))
        index.add(number, right, "a")
    assert index.find("1", None, "a") == [1, 3, 5, 7, 9]
    assert index.find("1", "4", None) == [4]
    assert len(index.find(None, None, "a")) == 10
    assert index.find(None, None, None) == index.find("7", None, None) == []


def test_remembered_rights_are_forgotten() -> None:
    remembered = RememberedPermissions(60)
    right = Permission(user="anna")
    remembered.add(b"1", {"a": right, "b": None, "c": right})
    assert remembered.find(b"1", "a") is right
    assert remembered.find(b"1", "b") is remembered.find(b"2", "a") is None
    remembered.revoke(Revocation("anna", "a", None, 0.0))
    assert remembered.find(b"1", "a") is None
    assert remembered.find(b"1", "c") is right
    remembered.add(b"1", {"c": Permission(user="bob")})
    remembered.revoke(Revocation("anna", None, None, 0.0))
    assert len(remembered) == 1
    remembered.add(b"3", {"a": Permission(user="bob", until=time.time() - 1)})
    assert remembered.find(b"3", "a") is None
    assert len(remembered) == 1
