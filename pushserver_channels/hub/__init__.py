"""The subscribers waiting in this process, and the delivery of messages to them."""

from __future__ import annotations

from .cursor import Cursor, Heard, InternalCursor, Observer
from .hub import Hub
from .registry import HubRegistry, hubs

__all__ = [
    "Cursor",
    "Heard",
    "Hub",
    "HubRegistry",
    "InternalCursor",
    "Observer",
    "hubs",
]
