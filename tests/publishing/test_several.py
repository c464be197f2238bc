"""Many updates in one call, with each publisher."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction

from pushserver.publishers import PublishError, Receipt, UpdatesFailed
from pushserver.publishers.http_posts import MAX_AT_ONCE
from pushserver.publishers.parts import MAX_UPDATES
from pushserver.signals import post_send_update, pre_send_update
from pushserver.updates import asend_updates, send_updates
from pushserver_channels.hub import hubs
from pushserver_channels.messages import START
from tests.servers import free_port
from tests.valkey import Valkey

from .small_server import SmallServer, publish_to

MANY = 10_000

#: A location whose messages have at most this many bytes.
TINY = {"type": "publisher", "prefix": "/p/", "max_message_size": 10}


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A real Valkey for the tests of this module."""
    with Valkey() as process:
        yield process


@pytest.fixture
def signals() -> Iterator[list[tuple[Any, Any]]]:
    """The data and the response of each signal, in order; no response before."""
    heard: list[tuple[Any, Any]] = []

    def hear(data: Any, response: Any = None, **others: Any) -> None:
        heard.append((data, response))

    pre_send_update.connect(hear)
    post_send_update.connect(hear)
    yield heard
    pre_send_update.disconnect(hear)
    post_send_update.disconnect(hear)


def many(channels: int = 50) -> list[tuple[str, int]]:
    """Return updates of several channels, in turns."""
    return [(f"channel {number % channels}", number) for number in range(MANY)]


def statuses(receipts: list[Receipt | None] | None) -> list[int]:
    """Return the statuses of receipts, all of which must be there."""
    assert receipts is not None
    assert all(receipts)
    return [each.status for each in receipts if each is not None]


def sent(small: SmallServer) -> dict[str, list[Any]]:
    """Return the data that were posted, by path."""
    bodies = defaultdict(list)
    for path, _, body in small.requests:
        bodies[path].append(json.loads(body))
    return bodies


# Over HTTP


@pytest.mark.left_to_all("10,000 over HTTP")
def test_ten_thousand_over_http(small: SmallServer, settings: LazySettings) -> None:
    """Thousands of updates share a few connections, and channels keep their order."""
    publish_to(small.host, settings)
    receipts = send_updates(many())
    assert statuses(receipts) == [202] * MANY
    bodies = sent(small)
    assert len(bodies) == 50
    for number in range(50):
        path = f"/publisher/channel%20{number}"
        assert bodies[path] == list(range(number, MANY, 50))
    assert len(small.connections) <= MAX_AT_ONCE


def test_receipts_are_in_the_order_of_the_updates(
    small: SmallServer, settings: LazySettings
) -> None:
    """Each receipt is at the place of its update, however the POSTs are divided."""
    publish_to(small.host, settings)
    small.answer = b'{"messages": 1}'
    updates = [("a", 0), ("a", 1), ("b", 2), ("a", 3), ("c", 4)]
    assert statuses(send_updates(updates)) == [202] * 5
    assert sent(small)["/publisher/a"] == [0, 1, 3]
    assert send_updates([]) == []
    assert send_updates(iter([("a", 1)])) == [Receipt(202, {"messages": 1})]


async def test_async_code_over_http(small: SmallServer, settings: LazySettings) -> None:
    """asend_updates does the same in a thread."""
    publish_to(small.host, settings)
    updates = [(f"{number % 3}", number) for number in range(30)]
    assert statuses(await asend_updates(updates)) == [202] * 30
    assert sent(small)["/publisher/1"] == list(range(1, 30, 3))


def test_post_that_is_not_answered_is_repeated(
    small: SmallServer, settings: LazySettings
) -> None:
    """A POST whose connection ends is sent again, and its channel keeps its order."""
    publish_to(small.host, settings)
    small.echoes = True
    send_updates([("a", 0)])
    small.drops = 1
    assert statuses(send_updates([("a", 1), ("a", 2), ("a", 3)])) == [202] * 3
    assert sent(small)["/publisher/a"] == [0, 1, 1, 2, 3]


def test_server_that_does_not_run(settings: LazySettings) -> None:
    """If the push server is down, each update has an error."""
    publish_to(f"127.0.0.1:{free_port()}", settings)
    with pytest.raises(UpdatesFailed, match="30 of 30 updates failed") as caught:
        send_updates([(f"{number}", number) for number in range(30)])
    assert caught.value.receipts == [None] * 30
    assert list(caught.value.errors) == list(range(30))
    assert "Is the push server running there?" in str(caught.value)


def test_server_that_does_not_answer(
    small: SmallServer, settings: LazySettings
) -> None:
    """If a round is not answered in time, the others are not sent."""
    publish_to(small.host, settings, publisher_timeout=0.3)
    small.may_answer.clear()
    with pytest.raises(UpdatesFailed) as caught:
        send_updates([("a", number) for number in range(30)])
    small.may_answer.set()
    assert "may have been published" in str(caught.value.errors[0])
    assert "it was not sent" in str(caught.value.errors[29])
    assert len(small.requests) == 1


# Directly, in this process


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_ten_thousand_in_the_process_of_the_server(
    store: str, valkey: Valkey, settings: LazySettings
) -> None:
    """The server's own process publishes thousands, in the order of each channel."""
    others = {"url": valkey.url} if store == "redis" else {}
    settings.PUSH_SERVER = {"store": {"type": store, **others}}
    hub = hubs.get("default")
    receipts = await asend_updates(many())
    assert statuses(receipts) == [202] * MANY
    page = await hub.store.page("channel 7", START, 1000)
    assert [int(each.body) for each in page] == list(range(7, MANY, 50))
    last = receipts[-1]
    assert last is not None
    assert last.info is not None
    assert last.info["messages"] == MANY // 50
    more = await asyncio.to_thread(send_updates, [("channel 7", 1), ("other", 2)])
    assert statuses(more) == [202, 202]
    await hub.store.aclose()


async def test_other_tasks_run_meanwhile(settings: LazySettings) -> None:
    """Thousands of updates into memory do not keep the event loop from other tasks."""
    settings.PUSH_SERVER = {}
    hubs.get("default")
    sending = asyncio.create_task(asend_updates(many()))
    turns = 0
    while not sending.done():
        await asyncio.sleep(0)
        turns += 1
    assert statuses(sending.result()) == [202] * MANY
    assert turns > MANY / 200


async def test_refused_updates(
    settings: LazySettings,
    signals: list[tuple[Any, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An update that is refused does not stop the others, and the error names it."""
    settings.PUSH_SERVER = {"locations": [TINY]}
    hubs.get("default")
    updates = [("a", 1), ("a", "x" * 20), ("b", 3), ("b", "y" * 20)]
    with pytest.raises(UpdatesFailed, match="2 of 4 updates failed") as caught:
        await asend_updates(updates)
    error = caught.value
    assert isinstance(error, PublishError)
    assert error.status == 413
    assert error.url == "http://127.0.0.1:8001/p/a"
    assert list(error.errors) == [1, 3]
    assert [each and each.status for each in error.receipts] == [202, None, 202, None]
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.receipts) == (str(error), error.receipts)
    assert [data for data, _ in signals] == [data for _, data in updates] * 2
    assert [response is None for _, response in signals] == [True] * 4 + [False] * 4
    assert signals[5][1] is error.errors[1]
    assert signals[6][1] is error.receipts[2]
    receipts = await asend_updates(updates, ignore_errors=True)
    assert [each and each.status for each in receipts] == [202, None, 202, None]
    [record] = caplog.records
    assert "2 of 4 updates failed" in record.getMessage()


@pytest.mark.parametrize(
    ("update", "kind", "sentence"),
    [
        (("a", {"x": {1}}), TypeError, r"updates\[1\]: data\['x'\] is a set"),
        (("", 1), ValueError, r"updates\[1\]: A channel id has from 1"),
        ("ab", TypeError, r"updates\[1\] is a str, not a pair"),
        (("a",), TypeError, r"updates\[1\] is a tuple, not a pair"),
        (5, TypeError, r"updates\[1\] is a int, not a pair"),
    ],
)
def test_all_are_checked_before_one_is_sent(
    update: Any,
    kind: type[Exception],
    sentence: str,
    small: SmallServer,
    settings: LazySettings,
) -> None:
    """An update that is wrong is named, and none is sent."""
    publish_to(small.host, settings)
    for send in (send_updates, async_to_sync(asend_updates)):
        with pytest.raises(kind, match=sentence):
            send([("a", 0), update], ignore_errors=True)
    assert small.requests == []


def test_options_apply_to_all(small: SmallServer, settings: LazySettings) -> None:
    """The arguments of send_update apply to all updates of a call."""
    publish_to(small.host, settings, locations=[{**TINY, "name": "tiny"}])
    send_updates(
        [("a", "1"), ("b", "2")],
        content_type="text/plain",
        event="story",
        location="tiny",
        expires=60,
        idempotency_key="job",
    )
    assert {path for path, _, _ in small.requests} == {"/p/a", "/p/b"}
    for _, headers, _ in small.requests:
        assert headers["content-type"] == "text/plain"
        assert headers["x-eventsource-event"] == "story"
        assert headers["ttl"] == "60"
    # The channels are published to at the same time, in no order.
    keys = {path: headers["idempotency-key"] for path, headers, _ in small.requests}
    assert keys == {"/p/a": "job.0", "/p/b": "job.1"}


@pytest.mark.django_db(transaction=True)
def test_updates_wait_for_the_commit(
    small: SmallServer, settings: LazySettings
) -> None:
    """All updates of a call wait for the commit of its transaction."""
    publish_to(small.host, settings)
    data = {"items": [1]}
    with transaction.atomic():
        assert send_updates([("a", data), ("a", 2)], on_commit=True) is None
        data["items"].append(5)
        assert small.requests == []
    assert sent(small) == {"/publisher/a": [{"items": [1]}, 2]}
    with pytest.raises(ValueError, match="DATABASES"):
        send_updates([], using="nowhere")


async def test_send_updates_on_an_event_loop_names_asend_updates() -> None:
    with pytest.raises(SynchronousOnlyOperation, match="await asend_updates"):
        send_updates([])


def test_parts_have_a_limit(settings: LazySettings, valkey: Valkey) -> None:
    """Large messages are published in several parts."""
    valkey.run("FLUSHALL")
    settings.PUSH_SERVER = {"store": {"type": "redis", "url": valkey.url}}
    assert statuses(send_updates([("big", "x" * 900_000)] * 12)) == [202] * 12
    assert MAX_UPDATES == 1000
    assert valkey.run("XLEN", "pushserver:{00}:messages:big") == 12
