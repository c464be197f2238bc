"""Finds the channels whose messages take most memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """A channel.

    Attributes:
        size: The bytes that its messages take.
        size_class: The bits of its size when it was last indexed, 0 if it is not.
    """

    size: int
    size_class: int


Channel = TypeVar("Channel", bound=Sized)


class ChannelsBySize(Generic[Channel]):
    """An index of channels by the bits of their sizes.

    So sizes that differ by less than a factor of two may count as equal. A channel is
    moved at once when it grows by a bit (``size >> size_class`` is not 0), but only
    when it is looked for after it has shrunk. So most changes of a size cost nothing.
    """

    def __init__(self) -> None:
        # By the number of bits, in the order in which channels grew to it.
        self._classes: list[OrderedDict[Channel, None]] = []

    def add(self, channel: Channel) -> None:
        """Index a channel by its size; it may have been indexed before."""
        self.remove(channel)
        channel.size_class = channel.size.bit_length()
        if channel.size_class:
            while len(self._classes) <= channel.size_class:
                self._classes.append(OrderedDict())
            self._classes[channel.size_class][channel] = None

    def remove(self, channel: Channel) -> None:
        """Remove a channel that may be indexed."""
        if channel.size_class:
            del self._classes[channel.size_class][channel]
            channel.size_class = 0

    def find_largest(self) -> Channel | None:
        """Return one of the largest channels, None if no channel is indexed."""
        while self._classes:
            while largest := self._classes[-1]:
                channel = next(iter(largest))
                if channel.size.bit_length() == channel.size_class:
                    return channel
                self.add(channel)
            del self._classes[-1]
        return None
