"""The metrics of one process at one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pushserver_channels.counters import counters
from pushserver_channels.hub import hubs

#: A metric's name, the values of its labels, and its value.
Sample = tuple[str, tuple[str, ...], float]


class Durations(NamedTuple):
    """The durations in a histogram.

    Attributes:
        bounds: The upper bounds of its buckets in seconds.
        counts: How many durations are in each; the last one has no bound.
        sum: The sum of all durations in seconds.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


class Snapshot(NamedTuple):
    """The metrics of one process.

    Attributes:
        samples: The gauges and counters.
        histograms: The histograms by the names of the metrics.
    """

    samples: list[Sample]
    histograms: dict[str, Durations]

    def dump(self) -> bytes:
        """Return the metrics as JSON, for other processes."""
        return json.dumps([self.samples, self.histograms]).encode()

    @classmethod
    def load(cls, data: bytes) -> Snapshot:
        """Return the metrics of another process. Raises ``ValueError``."""
        try:
            samples, histograms = json.loads(data)
            return cls(
                [(name, tuple(labels), value) for name, labels, value in samples],
                {
                    name: Durations(tuple(bounds), tuple(counts), total)
                    for name, (bounds, counts, total) in histograms.items()
                },
            )
        except (AttributeError, TypeError, RecursionError) as error:
            raise ValueError(f"These are no metrics: {error}") from error


def take_snapshot(stores: Mapping[str, bool], passthrough_waiting: int) -> Snapshot:
    """Return the metrics of this process now.

    Args:
        stores: Whether each store has answered, by name.
        passthrough_waiting: How many requests to passthrough views are queued.
    """
    samples: list[Sample] = []

    def add(name: str, value: float, *labels: str) -> None:
        samples.append((f"pushserver_{name}", labels, value))

    for transport, counts in counters.transports.items():
        add("subscribers", counts.held, transport)
        add("subscriptions_total", counts.accepted, transport, "accepted")
        for reason, count in counts.refused.items():
            add("subscriptions_total", count, transport, reason)
        add("deliveries_total", counts.deliveries, transport)
        add("sent_bytes_total", counts.sent_bytes, transport)
    for result in ("delivered", "accepted", "repeated"):
        add("published_total", getattr(counters, result), result)
    for reason, count in counters.refused.items():
        add("published_total", count, reason)
    add("gaps_total", counters.gaps)
    for reason, count in counters.disconnects.items():
        add("disconnects_total", count, reason)
    for limit, count in counters.limits.items():
        add("limits_total", count, limit)
    add("passthrough_waiting", passthrough_waiting)
    for name, is_up in stores.items():
        add("store_up", is_up, name)
        store = hubs.get(name).store
        add("store_errors_total", store.errors, name)
        kept = store.count_kept()
        if kept is not None:
            add("channels", kept[0], name)
            add("stored_messages", kept[1], name)
    histograms: dict[str, Any] = {
        f"pushserver_{name}": Durations(
            tuple(each.bounds), tuple(each.counts), each.sum
        )
        for name, each in counters.histograms.items()
    }
    return Snapshot(samples, histograms)
