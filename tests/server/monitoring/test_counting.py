"""What is counted for the metrics."""

from __future__ import annotations

import pytest

from pushserver_channels.hub import hubs
from tests.server import rules
from tests.server.exchanges import FUTURE, Serve, until_held
from tests.server.holding import Hold, batch, poll, socket, stream
from tests.server.streams import (
    EVENTS,
    open_stream,
    until_live,
)
from tests.waiting import until

from .scraping import scrape

pytestmark = pytest.mark.usefixtures("nothing_left")

TRANSPORTS = [
    (poll, "poll"),
    (batch, "eventsource"),
    (stream, "eventsource"),
    (socket, "websocket"),
]


@pytest.mark.parametrize("path", ["/updates/a", "/updates/a,b"])
@pytest.mark.parametrize(("hold", "transport"), TRANSPORTS)
async def test_subscribers_and_deliveries(
    monitored: Serve, hold: Hold, transport: str, path: str
) -> None:
    """Held subscribers, messages sent and their bytes are counted by transport."""
    site = monitored(subscriber={"separator": ","})
    held = [await hold(site, path) for _ in range(3)]
    await until_held("a", 3)
    if hold in (stream, socket):
        await until_live("a")
    values = await scrape(site)
    assert values["subscribers", transport] == 3
    assert values["subscriptions_total", transport, "accepted"] == 3
    assert values["deliveries_total", transport] == 0
    await site.post("a", b"news!")
    if hold in (stream, socket):
        for each in held:
            each.disconnect()
    for each in held:
        await each.end()
    values = await scrape(site)
    assert values["subscribers", transport] == 0
    assert values["deliveries_total", transport] == 3
    assert values["sent_bytes_total", transport] == 15
    assert values["published_total", "delivered"] == 1
    left = values.get(("disconnects_total", "client"), 0)
    assert left == (3 if hold in (stream, socket) else 0)
    others = {each for _, each in TRANSPORTS} - {transport}
    assert not any(values["deliveries_total", each] for each in others)


async def test_stored_messages_count_when_they_are_sent(monitored: Serve) -> None:
    """Messages of the store are counted like those that are delivered at once."""
    site = monitored()
    for _ in range(5):
        await site.post("a", b"12")
    assert (await site.ask("GET", "/updates/a")).status == 200
    events = await open_stream(site, "/updates/a")
    await events.until(5)
    events.disconnect()
    await events.end()
    values = await scrape(site)
    assert values["deliveries_total", "poll"] == 1
    assert values["deliveries_total", "eventsource"] == 5
    assert values["sent_bytes_total", "eventsource"] == 10
    assert values["published_total", "accepted"] == 5
    assert values["channels", "default"] == 1
    assert values["stored_messages", "default"] == 5


async def test_full_batches_count_what_they_send(
    monitored: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that does not fit into a batch any more is not counted with it."""
    monkeypatch.setattr("pushserver_channels.consumers.batch.MAX_SIZE", 100)
    site = monitored()
    for _ in range(3):
        await site.post("a", b"x" * 40)
    answer = await site.ask("GET", "/updates/a?batch=1", [EVENTS])
    sent = answer.body.count(b"data: ")
    assert sent < 3
    values = await scrape(site)
    assert values["deliveries_total", "eventsource"] == sent
    assert values["sent_bytes_total", "eventsource"] == sent * 40


@pytest.mark.parametrize(("hold", "transport"), TRANSPORTS)
async def test_refused_subscribers_count_by_reason(
    monitored: Serve, hold: Hold, transport: str
) -> None:
    """A subscriber that is not let in counts by reason, and as nothing else."""
    site = monitored(subscriber={"create_on_get": False})
    await (await hold(site, "/updates/none")).end()
    path = f"{rules.__name__}.may_listen"
    site = monitored(subscriber={"authorize": path})
    await (await hold(site, "/updates/undecided")).end()
    site = monitored(max_held=1)
    held = await site.hold("/updates/a")
    await (await hold(site, "/updates/a")).end()
    values = await scrape(site)
    held.disconnect()
    await site.post("a")
    await held.end()
    assert values["subscriptions_total", transport, "not_found"] == 1
    assert values["subscriptions_total", transport, "unavailable"] == 1
    assert values["subscriptions_total", transport, "limited"] == 1
    accepted = 1 if transport == "poll" else 0
    assert values["subscriptions_total", transport, "accepted"] == accepted
    assert values["limits_total", "max_held"] == 1
    assert values["authorize_seconds_count",] == 1
    assert not any(key[0] == "disconnects_total" for key in values)


@pytest.mark.parametrize(("hold", "transport"), TRANSPORTS)
async def test_what_ends_a_subscription_counts(
    monitored: Serve, hold: Hold, transport: str
) -> None:
    """The end of a held subscription counts by reason, once."""
    site = monitored()
    held = await hold(site, "/updates/a")
    await until_held("a")
    if hold in (stream, socket):
        await until_live("a")
    await site.ask("DELETE", "/send-update/a")
    await held.end()
    held = await hold(site, "/updates/b")
    await until_held("b")
    if hold in (stream, socket):
        await until_live("b")
    await hubs.get("default").stop()
    await held.end()
    values = await scrape(site)
    ends = {key[1]: n for key, n in values.items() if key[0] == "disconnects_total"}
    assert ends == {"deleted": 1, "stopping": 1}
    assert values["subscriptions_total", transport, "accepted"] == 2


async def test_clients_that_leave_count(monitored: Serve) -> None:
    """A poll whose client is noticed to have left counts as a disconnect."""
    site = monitored(subscriber={"concurrency": "first"})
    held = await site.hold("/updates/a")
    refused = await site.ask("GET", "/updates/a")
    assert refused.status == 409
    held.disconnect()
    await held.end()
    values = await scrape(site)
    assert values["disconnects_total", "client"] == 1
    assert values["subscriptions_total", "poll", "conflict"] == 1


async def test_published_messages_count_by_result(monitored: Serve) -> None:
    """Each POST counts once, by what came of it."""
    site = monitored(
        publisher={"max_message_size": 10, "allow_from": ["127.0.0.1"]},
        store={"max_channels": 1},
    )
    key = [(b"idempotency-key", b"order-7")]
    assert (await site.post("a", b"1", key)).status == 202
    assert (await site.post("a", b"1", key)).status == 202
    assert (await site.post("b")).status == 503
    assert (await site.post("a", b"x" * 11)).status == 413
    denied = await site.ask(
        "POST", "/send-update/a", [], b"news", client=["10.0.0.1", 1]
    )
    assert denied.status == 403
    wrong = [(b"ttl", b"soon")]
    assert (await site.post("a", b"1", wrong)).status == 400
    assert (await site.ask("GET", "/send-update/none")).status == 404
    values = await scrape(site)
    results = {key[1]: n for key, n in values.items() if key[0] == "published_total"}
    assert results == {
        "delivered": 0,
        "accepted": 1,
        "repeated": 1,
        "limited": 1,
        "too_large": 1,
        "denied": 1,
        "invalid": 1,
    }
    assert values["limits_total", "max_channels"] == 1


async def test_gaps_count(monitored: Serve) -> None:
    """A subscriber that is told of a gap counts, by poll and by stream."""
    site = monitored(store={"max_messages": 1})
    for _ in range(3):
        await site.post("a")
    old = [
        (b"if-modified-since", b"Fri, 01 Jan 2021 00:00:00 GMT"),
        (b"if-none-match", b"0"),
    ]
    assert (await site.ask("GET", "/updates/a", old))["push-gap"]
    values = await scrape(site)
    assert values["gaps_total",] == 1
    events = await open_stream(site, "/updates/a?last_event_id=1600000000:0")
    await events.until(2)
    events.disconnect()
    await events.end()
    assert (await scrape(site))["gaps_total",] == 2


async def test_dropped_messages_count(monitored: Serve) -> None:
    """Messages that max_bytes drops are counted, and kept ones are counted right."""
    site = monitored(store={"max_bytes": 20_000, "max_messages": 5})
    for number in range(40):
        await site.post(f"{number % 7}", b"x" * 1000)
    values = await scrape(site)
    store = hubs.get("default").store
    kept = sum(len(each.messages or ()) for each in store.channels.values())  # type: ignore[attr-defined]
    assert values["stored_messages", "default"] == kept
    assert values["limits_total", "max_bytes"] == 40 - kept
    await site.ask("DELETE", "/send-update/1")
    left = await scrape(site)
    assert left["stored_messages", "default"] < kept
    assert left["channels", "default"] == 6


async def test_interval_polls_count(monitored: Serve) -> None:
    """Polls that are not held count when they are answered."""
    site = monitored(subscriber={"polling": "interval"})
    assert (await site.ask("GET", "/updates/a", FUTURE)).status == 304
    values = await scrape(site)
    assert values["subscriptions_total", "poll", "accepted"] == 1
    assert values["subscribers", "poll"] == 0


async def test_streams_whose_time_is_up_count(monitored: Serve) -> None:
    """A stream whose duration is over counts as that."""
    site = monitored(subscriber={"stream_duration": 0.05})
    events = await open_stream(site, "/updates/a")
    await events.until_ended()
    values = await scrape(site)

    async def counted() -> bool:
        return (await scrape(site)).get(("disconnects_total", "duration")) == 1

    await until(counted)
    assert values["subscriptions_total", "eventsource", "accepted"] == 1
