"""The consumers of publisher and subscriber locations."""

from __future__ import annotations

from .publisher import PublisherConsumer
from .subscriber import IntervalPollConsumer, LongPollConsumer, SubscriberConsumer

__all__ = [
    "IntervalPollConsumer",
    "LongPollConsumer",
    "PublisherConsumer",
    "SubscriberConsumer",
]
