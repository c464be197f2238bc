"""Who is on the channels. Source: streams, section 7."""

from .observer import LocationPresence
from .registry import find_presence, find_presence_of

__all__ = ["LocationPresence", "find_presence", "find_presence_of"]
