"""The location of metrics: names, access, and what is needed for it."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from prometheus_client.parser import text_string_to_metric_families

from pushserver_channels.counters import counters
from pushserver_channels.hub import hubs
from pushserver_channels.metrics import of_process
from pushserver_channels.metrics.names import METRICS
from pushserver_channels.metrics.snapshot import Snapshot
from pushserver_channels.process_names import name_process
from tests.server.exchanges import Serve
from tests.servers import ROOT

from .scraping import scrape

pytestmark = pytest.mark.usefixtures("nothing_left")

#: Dashboards and alerts of sites use these: none may be renamed or lose a label.
NAMES = {
    "pushserver_subscribers": ("gauge", "transport"),
    "pushserver_subscriptions_total": ("counter", "transport", "result"),
    "pushserver_published_total": ("counter", "result"),
    "pushserver_deliveries_total": ("counter", "transport"),
    "pushserver_sent_bytes_total": ("counter", "transport"),
    "pushserver_gaps_total": ("counter",),
    "pushserver_disconnects_total": ("counter", "reason"),
    "pushserver_channels": ("gauge", "store"),
    "pushserver_stored_messages": ("gauge", "store"),
    "pushserver_store_up": ("gauge", "store"),
    "pushserver_store_errors_total": ("counter", "store"),
    "pushserver_limits_total": ("counter", "limit"),
    "pushserver_passthrough_waiting": ("gauge",),
    "pushserver_publish_seconds": ("histogram",),
    "pushserver_delivery_lag_seconds": ("histogram",),
    "pushserver_authorize_seconds": ("histogram",),
}


def test_names_and_labels_stay() -> None:
    """The names, kinds and labels are those on which sites depend."""
    assert {each.name: (each.kind, *each.labels) for each in METRICS} == NAMES


#: The upper bounds of the histograms, which expressions name as well.
BUCKETS = {
    "publish_seconds": "0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5"
    " 5.0 10.0 +Inf",
    "delivery_lag_seconds": "1.0 2.0 3.0 5.0 10.0 30.0 60.0 300.0 +Inf",
}
BUCKETS["authorize_seconds"] = BUCKETS["publish_seconds"]


async def test_buckets_stay(monitored: Serve) -> None:
    """Each histogram has these buckets, a count and a sum."""
    values = await scrape(monitored())
    for name, bounds in BUCKETS.items():
        shown = [key[1] for key in values if key[0] == f"{name}_bucket"]
        assert shown == bounds.split()
        assert (f"{name}_count",) in values
        assert (f"{name}_sum",) in values


def test_all_metrics_are_documented() -> None:
    """The documentation names each metric with its labels."""
    text = (ROOT / "docs" / "howto" / "monitoring.rst").read_text()
    for name, (_, *labels) in NAMES.items():
        assert f"``{name}{{{','.join(labels)}}}``" in text or (
            not labels and f"``{name}``" in text
        )


async def test_metrics_are_prometheus_text(monitored: Serve) -> None:
    """All metrics are shown with their kinds and labels, and a process for each."""
    site = monitored()
    await site.post("a-secret-channel")
    answer = await site.ask("GET", "/metrics")
    assert answer.status == 200
    content_type = answer["content-type"]
    assert content_type is not None
    assert content_type.startswith("text/plain; version=")
    assert answer["cache-control"] == "no-cache"
    text = answer.body.decode()
    assert "secret" not in text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    for name, (kind, *labels) in NAMES.items():
        family = families[name.removesuffix("_total")]
        assert family.type == kind
        for sample in family.samples:
            assert sample.labels["process"] == name_process()
            assert set(sample.labels) - {"process", "le"} == set(labels)
    head = await site.ask("HEAD", "/metrics")
    assert head.status == 200
    assert (await site.ask("POST", "/metrics")).status == 405
    assert (await site.ask("GET", "/metrics/")).status == 299


@pytest.mark.parametrize("client", [["10.0.0.1", 1], ["", 0]])
async def test_other_addresses_get_no_metrics(
    monitored: Serve, client: list[Any]
) -> None:
    """A client whose address is not in allow_from gets 403 and no figure."""
    site = monitored()
    answer = await site.ask("GET", "/metrics", client=client)
    assert answer.status == 403
    assert answer.body == b"The metrics are not shown to this address.\n"
    forwarded = [(b"x-forwarded-for", b"10.0.0.1")]
    assert (await site.ask("GET", "/metrics", forwarded)).status == 403
    site = monitored(monitoring={"allow_from": ["10.0.0.0/8"]})
    assert (await site.ask("GET", "/metrics", client=["10.0.0.1", 1])).status == 200
    assert (await site.ask("GET", "/metrics")).status == 403


def test_missing_package_is_an_error(
    monitored: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with such a location does not start without prometheus-client."""
    find_spec = importlib.util.find_spec

    def find(name: str) -> ModuleSpec | None:
        return None if name == "prometheus_client" else find_spec(name)

    monkeypatch.setattr(of_process, "find_spec", find)
    with pytest.raises(ImproperlyConfigured) as caught:
        monitored()
    assert str(caught.value) == (
        "PUSH_SERVER['locations'][2] shows metrics, which needs the package"
        " prometheus-client: pip install django-pushserver[metrics], or leave the"
        " location out."
    )


async def test_durations_are_measured_only_if_they_are_shown(
    serve: Serve, monitored: Serve
) -> None:
    """Without a metrics location no clock is read for the metrics."""
    site = serve()
    await site.post("a")
    assert not counters.is_timing
    assert sum(counters.publish_seconds.counts) == 0
    site = monitored()
    for _ in range(3):
        await site.post("a")
    values = await scrape(site)
    assert values["publish_seconds_count",] == 3
    assert values["publish_seconds_bucket", "+Inf"] == 3
    assert 0 < values["publish_seconds_sum",] < 3


async def test_lag_is_measured_for_messages_that_are_delivered(
    monitored: Serve,
) -> None:
    """The lag counts each message once that was delivered to who waited here."""
    site = monitored()
    held = [await site.hold("/updates/a") for _ in range(3)]
    await site.post("a")
    await site.post("b")
    for each in held:
        assert (await each.answer()).status == 200
    values = await scrape(site)
    assert values["delivery_lag_seconds_count",] == 1


async def test_a_silent_store_is_shown(
    monitored: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """store_up is 0 while the store does not answer."""
    from pushserver_channels.exceptions import StoreUnavailable

    site = monitored()
    assert (await scrape(site))["store_up", "default"] == 1

    async def fail() -> None:
        raise StoreUnavailable

    monkeypatch.setattr(hubs.get("default").store, "check_health", fail)
    assert (await scrape(site))["store_up", "default"] == 0


def test_snapshots_can_be_read_again() -> None:
    """What a process writes for others is what they read; other things are refused."""
    durations = {"pushserver_x": ((1.0,), (1, 2), 3.5)}
    samples = [("pushserver_y", ("a", "b"), 2.0)]
    snapshot = Snapshot(samples, durations)  # type: ignore[arg-type]
    assert Snapshot.load(snapshot.dump()) == snapshot
    nonsense = (b"", b"{}", b"[1]", b"[1, 2]", b"[[[1]], {}]", b"[[], []]")
    for body in (*nonsense, b"[" * 100_000):
        with pytest.raises(ValueError):
            Snapshot.load(body)
