"""Updates that are published once although they are sent twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from channels.layers import InMemoryChannelLayer
from django.conf import LazySettings

from pushserver.conf import get_settings
from pushserver.publishers import PublishError, Update
from pushserver.publishers.idempotency import make_retry_key
from pushserver.signals import pre_send_update
from pushserver.updates import asend_update, send_update
from pushserver_channels.stores import make_store
from pushserver_channels.stores.redis import RedisStore
from tests import http
from tests.proxies import Proxy
from tests.servers import LOCATIONS, ServerProcess, wait_until
from tests.stores.conftest import attach_audience, audience_of
from tests.valkey import Cluster, Valkey
from tests.waiting import until

from .small_server import SmallServer, publish_to

MESSAGES = "pushserver:{00}:messages:news"


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A real Valkey for the tests of this module."""
    with Valkey() as process:
        yield process


@pytest.fixture
def redis(valkey: Valkey, settings: LazySettings) -> Valkey:
    """An empty Valkey, which is the store of the site."""
    valkey.run("FLUSHALL")
    settings.PUSH_SERVER = {"store": {"type": "redis", "url": valkey.url}}
    return valkey


# Over HTTP


def test_post_is_repeated_where_it_is_recognized(
    small: SmallServer, settings: LazySettings
) -> None:
    """A server that recognizes a key gets a POST again that it has not answered."""
    publish_to(small.host, settings)
    small.echoes = True
    send_update("news", 1)
    small.drops = 1
    receipt = send_update("news", 2)
    assert receipt is not None
    assert receipt.status == 202
    bodies = [body for _, _, body in small.requests]
    assert bodies == [b"1", b"2", b"2"]
    first, second, again = [each["idempotency-key"] for _, each, _ in small.requests]
    assert first != second == again


def test_post_is_not_repeated_for_ever(
    small: SmallServer, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few attempts it is an error, which says that it may be published."""
    monkeypatch.setattr(
        "pushserver.publishers.http_exchanges.REPEAT_DELAYS", (0.0, 0.0)
    )
    publish_to(small.host, settings)
    small.echoes = True
    send_update("news", 1)
    small.drops = 3
    with pytest.raises(PublishError, match="may have been published or not"):
        send_update("news", 2)
    assert len(small.requests) == 4


def test_post_is_repeated_within_the_time_limit(
    small: SmallServer, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A POST is not repeated after publisher_timeout."""
    monkeypatch.setattr(
        "pushserver.publishers.http_exchanges.REPEAT_DELAYS", (0.0, 60.0)
    )
    publish_to(small.host, settings, publisher_timeout=0.3)
    small.echoes = True
    send_update("news", 1)
    small.drops = 100
    with pytest.raises(PublishError, match="may have been published or not"):
        send_update("news", 2)
    assert len(small.requests) == 3


@pytest.mark.parametrize("has_key", [False, True])
def test_post_is_not_repeated_elsewhere(
    has_key: bool, small: SmallServer, settings: LazySettings
) -> None:
    """A server that sends no key back, as nginx with Nchan, gets each POST once."""
    publish_to(small.host, settings)
    options = {"idempotency_key": "order-7"} if has_key else {}
    send_update("news", 1, **options)
    small.drops = 1
    with pytest.raises(PublishError, match="may have been published or not"):
        send_update("news", 2, **options)
    assert [body for _, _, body in small.requests] == [b"1", b"2"]


def test_server_that_does_not_recognize_keys_any_more(
    small: SmallServer, settings: LazySettings
) -> None:
    """The last answer of a server decides."""
    publish_to(small.host, settings)
    small.echoes = True
    send_update("news", 1)
    small.echoes = False
    send_update("news", 2)
    small.drops = 1
    with pytest.raises(PublishError):
        send_update("news", 3)


def test_key_is_a_header(small: SmallServer, settings: LazySettings) -> None:
    """The caller's key is the header, which a signal receiver may change."""
    publish_to(small.host, settings)

    def change(request: Any, **others: Any) -> None:
        assert request.get_header("Idempotency-key") == "order-7"
        request.add_header("Idempotency-Key", "order-8")

    send_update("news", 1, idempotency_key="order-7")
    pre_send_update.connect(change)
    try:
        send_update("news", 1, idempotency_key="order-7")
    finally:
        pre_send_update.disconnect(change)
    keys = [headers["idempotency-key"] for _, headers, _ in small.requests]
    assert keys == ["order-7", "order-8"]


@pytest.mark.parametrize("key", ["", "a b", "a\n", "ä", "x" * 256, "\x7f"])
def test_invalid_key_is_an_error(key: str) -> None:
    """A key that cannot be a header's value raises ValueError."""
    with pytest.raises(ValueError, match="An idempotency key"):
        send_update("news", 1, idempotency_key=key, ignore_errors=True)


def test_key_of_another_type_is_an_error() -> None:
    with pytest.raises(TypeError, match="idempotency_key must be a str, not int"):
        send_update("news", 1, idempotency_key=7)  # type: ignore[arg-type]


def test_post_with_a_lost_answer_is_published_once(
    server: ServerProcess, settings: LazySettings
) -> None:
    """A real server recognizes a POST whose answer was lost on the way."""
    url = f"{server.url}/send-update/lost-answer"

    def count() -> int:
        info = http.get(url, headers={"Accept": "application/json"})
        return int(info.json()["messages"])

    with Proxy(server.port) as proxy:
        settings.PUSH_SERVER = {
            "publisher_host": f"127.0.0.1:{proxy.port}",
            "locations": LOCATIONS,
        }
        send_update("lost-answer", 0)
        before = count()
        proxy.lose_answers()

        def cut_when_it_is_there() -> None:
            wait_until(lambda: count() > before)
            proxy.mend()

        with ThreadPoolExecutor(1) as threads:
            cutting = threads.submit(cut_when_it_is_there)
            receipt = send_update("lost-answer", 1)
            cutting.result()
    assert receipt is not None
    assert receipt.info is not None
    assert receipt.info["messages"] == count() == before + 1


# In Redis


def test_repeated_update_has_the_same_receipt(redis: Valkey) -> None:
    """The same key on the same channel publishes nothing and has the same receipt."""
    first = send_update("news", 1, idempotency_key="order-7")
    send_update("news", 2)
    assert send_update("news", 3, idempotency_key="order-7") == first
    other = asyncio.run(asend_update("other", 4, idempotency_key="order-7"))
    assert send_update("news", 5, idempotency_key="order-8") != first
    assert other is not None
    assert redis.run("XLEN", MESSAGES) == 3


def test_receipt_ends_after_five_minutes(redis: Valkey) -> None:
    """Redis keeps a receipt for five minutes, and one of a publisher's retry for one.

    A key of a site may begin with the same word.
    """
    made_up = make_retry_key()
    for key in ("order-7", "retry-7", made_up):
        send_update("news", 1, idempotency_key=key)
    send_update("news", 1)
    lives = {}
    for name in redis.run("KEYS", "*:receipt:*"):
        lives[name] = redis.run("TTL", name)
    assert list(map(str, sorted(lives))) == [
        f"pushserver:{{00}}:receipt:38:{made_up}:news",
        "pushserver:{00}:receipt:7:order-7:news",
        "pushserver:{00}:receipt:7:retry-7:news",
    ]
    assert 290 <= lives["pushserver:{00}:receipt:7:order-7:news"] <= 300
    assert 290 <= lives["pushserver:{00}:receipt:7:retry-7:news"] <= 300
    assert 50 <= lives[f"pushserver:{{00}}:receipt:38:{made_up}:news"] <= 60


def test_keys_of_two_channels_are_not_confused(redis: Valkey) -> None:
    """A key and a channel with colons are not those of another channel."""
    send_update("b:c", 1, idempotency_key="a")
    send_update("c", 2, idempotency_key="a:b")
    assert redis.run("XLEN", "pushserver:{00}:messages:c") == 1


async def test_receipt_of_a_server_with_subscribers(redis: Valkey) -> None:
    """What a server told is told again, by it and by a process without a server."""
    store = make_store(get_settings().store["default"])
    assert isinstance(store, RedisStore)
    attach_audience(store)
    audience_of(store).waiting.add("news")
    store.listen("news")
    update = Update("news", b"1")
    await store.next("news", (await store.create("news")).last_message_id)
    first = await store.append_once(update, "order-7", 2)
    assert (first.delivered, first.is_repeated, first.info.subscribers) == (
        True,
        False,
        0,
    )
    again = await store.append_once(update, "order-7", 5)
    assert again.is_repeated
    assert again.delivered
    assert again.info == first.info._replace(subscribers=2)
    receipt = await asend_update("news", 1, idempotency_key="order-7")
    assert receipt is not None
    assert receipt.status == 201
    assert receipt.info is not None
    assert receipt.info["subscribers"] == 2
    assert receipt.info["last_message_id"] == str(first.info.last_message_id)
    assert redis.run("XLEN", MESSAGES) == 1
    await store.aclose()


@pytest.mark.parametrize("keep", [True, False])
def test_update_with_a_lost_answer_is_published_once(
    keep: bool, redis: Valkey, settings: LazySettings
) -> None:
    """With a key, even a message that is not kept is sent again after a failure."""
    subscriber = redis.client().pubsub()
    topic = "pushserver:{00}:bell:0:news"
    subscriber.subscribe(topic)
    wait_until(lambda: redis.run("PUBSUB", "NUMSUB", topic)[1] == 1)
    with Proxy(redis.port) as proxy:
        settings.PUSH_SERVER = {
            "store": {"type": "redis", "url": f"redis://127.0.0.1:{proxy.port}"}
        }
        assert send_update("other", 0)
        proxy.lose_answers()

        def cut_when_it_is_there() -> None:
            wait_until(lambda: redis.run("KEYS", "*:receipt:*"))
            proxy.mend()

        with ThreadPoolExecutor(1) as threads:
            cutting = threads.submit(cut_when_it_is_there)
            receipt = send_update("news", 1, keep=keep, idempotency_key="order-7")
            cutting.result()
    assert receipt is not None
    assert receipt.status == 201
    published = []
    while (each := subscriber.get_message(timeout=0.2)) is not None:
        published.append(each["type"])
    assert published == ["subscribe", "message"]
    subscriber.close()


def test_refused_update_has_no_receipt(
    valkey: Valkey, redis: Valkey, settings: LazySettings
) -> None:
    """An update that was refused may be sent again with its key."""
    location = {"type": "publisher", "prefix": "/p/", "create_on_post": False}
    store = {"type": "redis", "url": valkey.url}
    settings.PUSH_SERVER = {"store": store, "locations": [location]}
    with pytest.raises(PublishError):
        send_update("news", 1, idempotency_key="order-7")
    settings.PUSH_SERVER = {"store": store}
    assert send_update("news", 1, idempotency_key="order-7")
    assert redis.run("XLEN", MESSAGES) == 1


@pytest.mark.process
def test_keys_in_a_cluster(settings: LazySettings) -> None:
    """In a cluster, a receipt is on the server of its channel."""
    with Cluster() as cluster:
        settings.PUSH_SERVER = {"store": {"type": "redis", "url": cluster.url}}
        names = [f"channel {number}" for number in range(12)]
        first = [send_update(each, 1, idempotency_key="order-7") for each in names]
        again = [send_update(each, 1, idempotency_key="order-7") for each in names]
    assert first == again
    assert all(first)


# Over a channel layer


class CountingLayer(InMemoryChannelLayer):
    """A layer that keeps what is sent through it."""

    sent: ClassVar[list[Any]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.sent.append(message["channel_id"])
        await super().group_send(group, message)


class SlowLayer(CountingLayer):
    """A layer that sends a message when all others publish as well."""

    publishing = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await until(lambda: self.publishing == 4 * 3)
        await super().group_send(group, message)


def test_layer_without_a_server(settings: LazySettings) -> None:
    """A process without a server recognizes the keys of its own."""
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": f"{__name__}.{CountingLayer.__name__}"}
    }
    settings.PUSH_SERVER = {"store": {"type": "channel_layer"}}
    CountingLayer.sent.clear()
    first = send_update("layer", 1, idempotency_key="order-7")
    assert send_update("layer", 1, idempotency_key="order-7") == first
    assert send_update("other", 1, idempotency_key="order-7") == first
    assert CountingLayer.sent == ["layer", "other"]


def test_layer_without_a_server_at_the_same_time(settings: LazySettings) -> None:
    """Threads and tasks that publish with one key at the same time publish once."""
    backend = f"{__name__}.SlowLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    settings.PUSH_SERVER = {"store": {"type": "channel_layer"}}
    CountingLayer.sent.clear()
    SlowLayer.publishing = 0
    lock = threading.Lock()

    async def publish_in_tasks() -> None:
        async def publish() -> None:
            with lock:
                SlowLayer.publishing += 1
            await asend_update("layer", 1, idempotency_key="order-8")

        await asyncio.gather(*(publish() for _ in range(3)))

    def publish() -> None:
        asyncio.run(publish_in_tasks())
        send_update("layer", 1, idempotency_key="order-8")

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(publish) for _ in range(4)]:
            each.result()
    assert CountingLayer.sent == ["layer"]
