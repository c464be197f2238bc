"""Subscribers without a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pushserver_channels.subscriptions import Hub, Subscription


def make_subscription(channel_id: str) -> Subscription:
    """Return a place on a channel, to be entered."""
    subscription = Subscription()
    subscription.channel_id = channel_id
    return subscription


@contextmanager
def subscribe(hub: Hub, channel_id: str) -> Iterator[Subscription]:
    """Have a place on a channel during a block."""
    subscription = make_subscription(channel_id)
    subscription.enter(hub)
    try:
        yield subscription
    finally:
        subscription.leave()
