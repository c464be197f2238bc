"""What this process has counted since it started, for its metrics.

These are plain numbers, changed where something happens on the event loop of the
server. What can be found out when the metrics are read is not counted here.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

#: The upper bounds of the buckets of a duration, in seconds.
DURATIONS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
)  # fmt: skip

#: The same for the lag of a delivery, which is counted from a whole second.
LAGS = (1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)

#: The transports, by their names in the settings.
TRANSPORTS = ("poll", "eventsource", "websocket")


class Histogram:
    """Counts durations by their length.

    Args:
        bounds: The upper bounds of the buckets in seconds, the shortest first.

    Attributes:
        counts: How many durations are in each bucket; the last one has no bound.
        sum: The sum of all durations in seconds.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.reset()

    def observe(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def reset(self) -> None:
        """Forget what was counted."""
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0


class TransportCounts:
    """What was counted for the subscribers of one transport.

    Attributes:
        transport: The name of the transport.
        held: How many requests, streams or sockets are held now.
        accepted: How many were accepted.
        refused: How many were not, by reason.
        deliveries: How many messages were sent to them.
        sent_bytes: The bytes of the bodies of these messages.
    """

    __slots__ = (
        "accepted",
        "deliveries",
        "held",
        "refused",
        "sent_bytes",
        "transport",
    )

    def __init__(self, transport: str) -> None:
        self.transport = transport
        self.held = 0
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, but not what is held."""
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.deliveries = 0
        self.sent_bytes = 0


class Counters:
    """What this process has counted.

    Attributes:
        is_timing: Whether durations are measured, because a location shows them.
        transports: What was counted for each transport.
        delivered: How many messages were published that a waiting subscriber took.
        accepted: How many messages were published that none was waiting for.
        repeated: How many were not published again, because of their idempotency key.
        refused: How many messages were not published, by reason.
        gaps: How many times a subscriber was told that it has missed messages.
        disconnects: How many subscribers were disconnected or have left, by reason.
        limits: How many times something was refused or dropped, by the name of the
            limit.
        publish_seconds: How long publishing took.
        delivery_lag_seconds: How long after the start of the second of its id a message
            had been delivered to all who waited in this process.
        authorize_seconds: How long the site's function ``authorize`` took.
    """

    def __init__(self) -> None:
        self.is_timing = False
        self.transports = {each: TransportCounts(each) for each in TRANSPORTS}
        self.publish_seconds = Histogram(DURATIONS)
        self.delivery_lag_seconds = Histogram(LAGS)
        self.authorize_seconds = Histogram(DURATIONS)
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, but not what is held."""
        self.delivered = self.accepted = self.repeated = 0
        self.refused: Counter[str] = Counter()
        self.gaps = 0
        self.disconnects: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()
        for each in self.transports.values():
            each.reset()
        for histogram in self.histograms.values():
            histogram.reset()

    def reset_in_child(self) -> None:
        """Forget what a forked process has from its parent."""
        self.reset()
        for each in self.transports.values():
            each.held = 0

    @property
    def histograms(self) -> dict[str, Histogram]:
        """The histograms by their names."""
        return {
            "publish_seconds": self.publish_seconds,
            "delivery_lag_seconds": self.delivery_lag_seconds,
            "authorize_seconds": self.authorize_seconds,
        }


counters = Counters()
if hasattr(os, "register_at_fork"):  # Not on Windows.
    os.register_at_fork(after_in_child=counters.reset_in_child)
