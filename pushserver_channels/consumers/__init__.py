"""The consumers that answer requests to publisher and subscriber locations."""

from __future__ import annotations

from .interval_poll import IntervalPollConsumer
from .long_poll import LongPollConsumer
from .publisher import PublisherConsumer
from .subscriber import SubscriberConsumer

__all__ = [
    "IntervalPollConsumer",
    "LongPollConsumer",
    "PublisherConsumer",
    "SubscriberConsumer",
]
