"""Who is on the channels of a store over a channel layer."""

from .store import LayerPresence

__all__ = ["LayerPresence"]
