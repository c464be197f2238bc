"""A channel layer that loses what a test lets it lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

#: Returns whether a message to the process with a number, by the order in which the
#: processes were made, is lost.
Loses = Callable[[int, dict[str, Any]], bool]


class LossyLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer in memory that loses messages to groups.

    Attributes:
        loses: Whether a message is lost.
        events: The events of presence that were sent.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.loses: Loses = lambda process, event: False
        self.events: list[dict[str, Any]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if message["type"].startswith("presence."):
            self.events.append(message)
        for number, channel in enumerate(list(self.groups.get(group, ()))):
            if not self.loses(number, message):
                await self.send(channel, message)


def find_layer() -> LossyLayer:
    layer: LossyLayer = get_channel_layer()
    return layer


def lose(process: int, *kinds: str, count: int = 10**9) -> Callable[[], int]:
    """Lose messages of some types to a process.

    Args:
        process: The number of the process.
        kinds: The types; all if there are none.
        count: How many are lost.

    Returns a function that returns how many were lost.
    """
    lost = 0

    def loses(number: int, event: dict[str, Any]) -> bool:
        nonlocal lost
        is_lost = (
            number == process and lost < count and (not kinds or event["type"] in kinds)
        )
        lost += is_lost
        return is_lost

    find_layer().loses = loses
    return lambda: lost


def lose_nothing() -> None:
    find_layer().loses = lambda process, event: False
