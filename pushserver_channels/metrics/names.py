"""The names and labels of all metrics, on which the monitoring of sites depends."""

from __future__ import annotations

from typing import NamedTuple

#: The first label of all metrics: the process, as in ``web1:4711``.
PROCESS = "process"

#: The kinds of metrics.
GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"


class Metric(NamedTuple):
    """A metric.

    Attributes:
        name: Its name. No label ever holds a channel id: there may be any number.
        kind: :data:`GAUGE`, :data:`COUNTER` or :data:`HISTOGRAM`.
        help: What it says, in one sentence.
        labels: The names of its labels, besides :data:`PROCESS`.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


METRICS = (
    Metric(
        "pushserver_subscribers",
        GAUGE,
        "Requests, streams and sockets of subscribers that are held now.",
        ("transport",),
    ),
    Metric(
        "pushserver_subscriptions_total",
        COUNTER,
        "Requests of subscribers, by what came of them.",
        ("transport", "result"),
    ),
    Metric(
        "pushserver_published_total",
        COUNTER,
        "Messages that were published, or not, by what came of them.",
        ("result",),
    ),
    Metric(
        "pushserver_deliveries_total",
        COUNTER,
        "Messages that were sent to subscribers, counted for each of them.",
        ("transport",),
    ),
    Metric(
        "pushserver_sent_bytes_total",
        COUNTER,
        "Bytes of the bodies of the messages that were sent to subscribers.",
        ("transport",),
    ),
    Metric(
        "pushserver_gaps_total",
        COUNTER,
        "How often a subscriber was told that it has missed messages.",
    ),
    Metric(
        "pushserver_disconnects_total",
        COUNTER,
        "Subscribers that have left or were disconnected, by reason.",
        ("reason",),
    ),
    Metric(
        "pushserver_channels",
        GAUGE,
        "Channels in a store that is in the memory of the process.",
        ("store",),
    ),
    Metric(
        "pushserver_stored_messages",
        GAUGE,
        "Messages kept in a store that is in the memory of the process.",
        ("store",),
    ),
    Metric(
        "pushserver_store_up",
        GAUGE,
        "Whether the store has answered within a second.",
        ("store",),
    ),
    Metric(
        "pushserver_store_errors_total",
        COUNTER,
        "Connections that failed or ended, and commands that were refused.",
        ("store",),
    ),
    Metric(
        "pushserver_limits_total",
        COUNTER,
        "How often a limit has refused or dropped something.",
        ("limit",),
    ),
    Metric(
        "pushserver_passthrough_waiting",
        GAUGE,
        "Requests to passthrough views that are queued.",
    ),
    Metric(
        "pushserver_publish_seconds",
        HISTOGRAM,
        "How long the store took to accept and deliver a message.",
    ),
    Metric(
        "pushserver_delivery_lag_seconds",
        HISTOGRAM,
        "Time from the start of the second in a message's id until it was delivered.",
    ),
    Metric(
        "pushserver_authorize_seconds",
        HISTOGRAM,
        "How long the function authorize took, with the wait for a thread.",
    ),
)
