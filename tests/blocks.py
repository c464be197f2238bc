"""Values of PUSH_SERVER that several tests read."""

from __future__ import annotations

from typing import Any

from pushserver.conf import read_settings

# fmt: off
#: The block of the documentation of django-pushserver 0.3, word for word.
OLD_BLOCK = {
    'port': 8001,
    'address': '127.0.0.1',
    'publisher_host': {'location': '127.0.0.1:8001', 'secure': True},
    'subscriber_host': {'location': '127.0.0.1:8001', 'secure': False},
    'store': {'type': 'memory', 'min_messages': 0, 'max_messages': 100, 'message_timeout': 10},  # noqa: E501
    'locations': (
        {'type': 'subscriber', 'url': r'/updates/([^/]+)', 'polling': 'long', 'create_on_get': True,  # noqa: E501
         'allow_origin': 'http://127.0.0.1:8000', 'allow_credentials': True,
         'passthrough': 'http://127.0.0.1:8000/passthrough'},
        {'type': 'publisher', 'url': r'/send-update/([^/]+)'},
    ),
}
# fmt: on


def subscriber(**keys: Any) -> dict[str, Any]:
    """Return a block with one subscriber location."""
    return {"locations": [{"type": "subscriber", "url": "/updates/(.+)", **keys}]}


def publisher(**keys: Any) -> dict[str, Any]:
    """Return a block with one publisher location."""
    return {"locations": [{"type": "publisher", "url": "/send-update/(.+)", **keys}]}


def monitoring(**keys: Any) -> dict[str, Any]:
    """Return a block with one metrics location."""
    return {"locations": [{"type": "metrics", "url": "/metrics", **keys}]}


def store(**keys: Any) -> dict[str, Any]:
    """Return a block with one store."""
    return {"store": {"type": "memory", **keys}}


def location(block: dict[str, Any]) -> Any:
    """Return the first location of a block, as it was read."""
    return read_settings(block).locations[0]
