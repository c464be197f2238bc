"""What the settings of all locations have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from .readers import count, one_of, regex, setting, text


@dataclass(frozen=True)
class Location(ABC):
    """A set of URLs, one for each channel.

    Attributes:
        type: ``publisher`` or ``subscriber``, or what a :class:`.MonitoringLocation`
            is.
        url: A pattern for the whole path. Its one group is the channel id.
        name: A unique name, or None.
        store: The name of the store that keeps the messages.
        max_channel_id_length: The most characters of a channel id, 0 for no limit.
    """

    type: str = setting(one_of("publisher", "subscriber", "metrics", "health"))
    url: re.Pattern[str] = setting(regex)
    name: str | None = setting(text, default=None)
    store: str = setting(text, default="default")
    max_channel_id_length: int = setting(count, default=512)

    @property
    @abstractmethod
    def consumers(self) -> tuple[str, ...]:
        """The dotted paths of its consumers; the first to accept a request answers."""

    @property
    def consumers_of_several(self) -> tuple[str, ...]:
        """The dotted paths of its consumers of requests for several channels."""
        return ()
