"""What the dashboard shows of the processes of the push server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from pushserver_channels.counters import counters
from pushserver_channels.dashboard import processes, responder
from pushserver_channels.dashboard.asking import (
    ChannelRequest,
    DeletionRequest,
    OverviewRequest,
)
from pushserver_channels.dashboard.inquiries import CHANNEL, Inquiry, find_store
from pushserver_channels.dashboard.responder import responders
from pushserver_channels.dashboard.summary import Summary
from pushserver_channels.hub import hubs
from pushserver_channels.messages import START, Message
from pushserver_channels.metrics.snapshot import Snapshot
from pushserver_channels.process_names import name_process
from pushserver_channels.routing import get_application
from pushserver_channels.stores import CommonStore, make_store
from tests.server.access.subscribing import Serving
from tests.server.exchanges import FUTURE, Site, django
from tests.server.streams import build_settings
from tests.valkey import Valkey
from tests.waiting import until

from .site import Browser

pytestmark = pytest.mark.usefixtures("watched_soon")

_prefixes = (f"dashboard {number}:" for number in count())


@pytest.fixture(autouse=True)
def fresh_counters() -> Iterator[None]:
    counters.reset()
    yield
    counters.reset()


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with Valkey() as valkey:
        yield valkey


@pytest.fixture
async def shared(valkey: Valkey, serve: Serving) -> AsyncIterator[Site]:
    """A site with a store in Redis, which has had a request."""
    store = {"type": "redis", "url": valkey.url, "key_prefix": next(_prefixes)}
    site = serve(store=store)
    await site.post("a")
    hub = hubs.get("default", settings=find_store("default"))
    await until(lambda: CHANNEL in hub.waiting)
    yield site
    hubs.reset()


class OtherProcess:
    """Another process that shares the store.

    Attributes:
        held: How many subscribers its channels have.
        is_well: Whether it answers.
        inquiries: What it was asked.
    """

    def __init__(self, held: dict[str, int]) -> None:
        self.held = held
        self.is_well = True
        self.inquiries: list[Inquiry] = []
        store = make_store(find_store("default"))
        assert isinstance(store, CommonStore)
        self.store = store
        store.attach(self)
        store.listen(CHANNEL)

    async def start(self) -> None:
        """Wait until it hears inquiries, and answer them."""
        hub = hubs.get("default", settings=find_store("default"))

        async def is_connected() -> bool:
            return (await hub.store.create(CHANNEL)).subscribers == 1

        await until(is_connected)

    def deliver(self, channel_id: str, message: Message) -> bool:
        self.inquiries.append(Inquiry.parse(message.body))
        if self.is_well:
            samples = [
                ("pushserver_gaps_total", (), 7.0),
                ("pushserver_subscribers", ("poll",), 4.0),
            ]
            summary = Summary("other:1", "9.9", [], samples, self.held, message.id)
            write = self.store.write_snapshot("other:1", summary.dump(), 30)
            self.store._network.start_task(write)  # type: ignore[attr-defined]
        return True

    def drop(self, channel_id: str) -> None:
        pass


async def test_this_process(serve: Serving) -> None:
    """With a store in memory the page shows its own process, and what it refused."""
    site = serve(store={"max_channels": 2})
    for channel_id in "abc":
        await site.post(channel_id)
    held = await site.hold("/updates/a", FUTURE)
    answer = await Browser().get()
    [shown] = answer.context["processes"]
    assert shown["name"] == name_process()
    assert (shown["polls"], shown["published"]) == (1, 2)
    assert shown["limits"] == [
        {"name": "channels", "setting": "max_channels", "count": 1}
    ]
    assert answer.context["sums"]["ready"] == 1
    text = answer.content.decode()
    assert "Ready" in text and "1 of 1 ready" in text
    held.disconnect()
    await held.end()


async def test_a_channel_layer(serve: Serving) -> None:
    """With a channel layer the page shows what the process that answers has."""
    layers = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with override_settings(CHANNEL_LAYERS=layers):
        site = serve(store={"type": "channel_layer"})
        await site.post("a")
        answer = await Browser().get()
        assert [each["name"] for each in answer.context["processes"]] == [
            name_process()
        ]
        assert [each["id"] for each in answer.context["channels"]] == ["a"]
        await hubs.get("default").store.aclose()


async def test_several_stores(serve: Serving) -> None:
    """Each store has a page of its own, with the channels of that store."""
    conf = build_settings()
    conf["store"] = {"default": {"type": "memory"}, "other": {"type": "memory"}}
    locations = conf["locations"]
    other = {"type": "publisher", "url": "/other/([^/]+)", "store": "other"}
    with override_settings(PUSH_SERVER={**conf, "locations": [*locations, other]}):
        site = Site(get_application(django))
        await site.post("a")
        await site.ask("POST", "/other/b", body=b"news")
        for store, channel_id in {"default": "a", "other": "b"}.items():
            answer = await Browser().get(store=store)
            shown = [each["id"] for each in answer.context["channels"]]
            assert shown == [channel_id]
            assert "/push/?store=other" in answer.content.decode()
            text = await Browser().read("channel/", store=store, channel=channel_id)
            assert "news" in text
        assert (await Browser().get(store="missing")).status_code == 404


async def test_a_process_that_is_not_ready(serve: Serving) -> None:
    """A process that drains says so."""
    site = serve()
    await site.post("a")
    await hubs.draining.end_held()
    text = await Browser().read()
    assert "Not ready" in text and "is draining" in text
    assert "0 of 1 ready" in text


async def test_all_processes(shared: Site) -> None:
    """With Redis the page shows all processes, and adds up their subscribers."""
    other = OtherProcess({"a": 3, "elsewhere": 1})
    await other.start()
    held = await shared.hold("/updates/a", FUTURE)
    answer = await Browser().get()
    names = [each["name"] for each in answer.context["processes"]]
    assert names == sorted(["other:1", name_process()])
    assert answer.context["sums"]["gaps"] == 7
    assert answer.context["sums"]["held"] == 5
    shown = {each["id"]: each["held"] for each in answer.context["channels"]}
    assert shown == {"a": 4, "elsewhere": 1}
    answer = await Browser().get("channel/", channel="a")
    assert answer.context["found"]["held"] == 4
    assert {Inquiry(("a",)), Inquiry(search="")} <= set(other.inquiries)
    held.disconnect()
    await held.end()
    await other.store.aclose()


async def test_a_process_that_does_not_answer(
    shared: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hangs is named, and one that has ended is not shown."""
    monkeypatch.setattr(processes, "PATIENCE", 0.05)
    other = OtherProcess({"a": 3})
    await other.start()
    other.is_well = False
    text = await Browser().read()
    assert "1 connected without an answer" in text  # It has never told its name.
    other.is_well = True
    assert "other:1" in await Browser().read()
    other.is_well = False
    answer = await Browser().get()
    text = answer.content.decode()
    assert "other:1" in text and "No answer" in text
    assert answer.context["sums"]["held"] == 0
    await other.store.aclose()
    hub = hubs.get("default", settings=find_store("default"))

    async def is_gone() -> bool:
        return (await hub.store.create(CHANNEL)).subscribers == 0

    await until(is_gone)
    assert "other:1" not in await Browser().read()


async def test_from_a_process_without_a_push_server(shared: Site) -> None:
    """A WSGI process asks those of the push server, and counts their answers."""
    held = await shared.hold("/updates/a", FUTURE)
    found = await processes.ask_from_outside("default", Inquiry(("a",), ""))
    [answer] = found.answers
    assert (answer.process, answer.held, found.silent) == (name_process(), {"a": 1}, 0)
    held.disconnect()
    await held.end()


async def test_pages_of_a_process_without_a_push_server(shared: Site) -> None:
    """A WSGI process shows the same pages, and deletes channels."""
    held = await shared.hold("/updates/a", FUTURE)
    overview: Any = OverviewRequest("default", "", "held", 1)
    found = await overview._do_with_new_store()
    assert [(each["id"], each["held"]) for each in found["channels"]] == [("a", 1)]
    assert (found["total"], found["is_running"]) == (1, False)
    channel: Any = ChannelRequest("default", "a")
    found = await channel._do_with_new_store()
    assert [each["body"] for each in found["entries"]] == ["news"]
    deletion: Any = DeletionRequest("default", "a")
    assert await deletion._do_with_new_store() is True
    assert (await held.answer()).status == 410
    assert await deletion._do_with_new_store() is False


async def test_one_answer_of_a_process(shared: Site) -> None:
    """A process answers once, also if its locations are routed a second time."""
    before = responders["default"]
    site = Site(get_application(django))
    await site.post("b")
    assert responders["default"] is not before
    hub = hubs.get("default", settings=find_store("default"))
    assert list(hub.waiting[CHANNEL]) == [responders["default"]]


async def test_many_look_at_once(shared: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many look, a process takes its figures once in an interval."""
    monkeypatch.setattr(responder, "INTERVAL", 100.0)
    taken = []
    own = responders["default"]

    async def take() -> Snapshot:
        taken.append(1)
        return Snapshot([], {})

    monkeypatch.setattr(own, "_take", take)
    monkeypatch.setattr(own, "_state", None)
    for _ in range(5):
        await processes.ask_from_outside("default", Inquiry(("a",)))
        await Browser().read()
    assert len(taken) == 1


async def test_nothing_is_done_when_nobody_looks(serve: Serving) -> None:
    """Without a look, a process takes no figures and ranks no channels."""
    site = serve()
    await site.post("a")
    own: Any = responders["default"]
    assert (own._state, own._tops, own.rankings._made) == (None, {}, {})
    assert own._answering is None


async def test_nonsense_is_not_answered(shared: Site) -> None:
    """An inquiry that cannot be read is logged, and the next one is answered."""
    hub = hubs.get("default", settings=find_store("default"))
    [own] = hub.waiting[CHANNEL]
    nonsense = (b"nonsense", b"[]", b'{"channel_ids": 7}', b'{"search": 7}')
    for body in (*nonsense, b"[" * 100_000):
        own.hear(Message(START, body, None, None))
    for number, body in enumerate(
        (b"[1]", b"[" * 100_000, b'["a", "1", [], [], {"b": 1e999}, [0, 0]]')
    ):
        name = f"broken:{number}"
        await hub.store.write_snapshot(name, body, 30)  # type: ignore[attr-defined]
    found = await processes.ask_from_outside("default", Inquiry())
    assert [each.process for each in found.answers] == [name_process()]


async def test_the_app_is_not_installed(serve: Serving) -> None:
    """A site without the dashboard has nothing of it in its processes."""
    apps = [each for each in settings.INSTALLED_APPS if "dashboard" not in each]
    with override_settings(INSTALLED_APPS=apps):
        site = serve()
        await site.post("a")
        assert responders == {}
