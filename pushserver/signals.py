"""Signals of subscriptions (through passthrough) and of updates sent.

``channel_subscribe``, ``channel_unsubscribe``
    Sent by the passthrough view with ``request`` (the subscriber's own: its user,
    cookies and headers) and ``channel_id``, at the start and the end of each held
    request. A page that polls again after each message sends a pair each time.

``pre_send_update``
    Sent with ``channel_id``, ``data``, ``already_serialized`` and ``request``, the
    :class:`urllib.request.Request` that is about to be published.

``post_send_update``
    Sent with the same and ``response``: a :class:`pushserver.publishers.Receipt`, or
    the exception if publishing failed.
"""

from __future__ import annotations

from django.dispatch import Signal

channel_subscribe = Signal()
channel_unsubscribe = Signal()

pre_send_update = Signal()
post_send_update = Signal()
