"""What all ways to publish share: a receipt, an error and the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.request import Request

from pushserver.conf import get_settings

from .update import Update


@dataclass(frozen=True)
class Receipt:
    """What happened to a published message.

    Attributes:
        status: 201 if it was sent to somebody who waited, 202 if not (200 from servers
            that do not tell).
        info: The channel info after it: ``messages``, ``requested`` (seconds),
            ``subscribers`` and ``last_message_id``; None if the server told none.
    """

    status: int
    info: dict[str, Any] | None = None

    @property
    def delivered(self) -> bool:
        """Whether at least one waiting subscriber was sent the message."""
        return self.status == 201


class PublishError(OSError):
    """A message that was not published; its text says where to and what to do.

    Attributes:
        url: The publisher URL, whether or not it was asked; None if there is none.
        reason: Why it was not published.
        status: The status that the push server answered, None if it did not answer.
        place: What was really asked: the URL, or where a store keeps its messages.
    """

    def __init__(
        self,
        url: str | None,
        reason: str,
        status: int | None = None,
        place: str | None = None,
    ) -> None:
        super().__init__(url, reason)
        self.errno = None  # Which OSError would take the URL for.
        self.url = url
        self.reason = reason
        self.status = status
        self.place = place or url or "the push server"

    def __str__(self) -> str:
        return f"Could not publish to {self.place}: {self.reason}"


def why_not_started() -> str:
    """Return why a message was not even sent within the time limit."""
    return (
        "other updates were being published for all of the"
        f" {get_settings().publisher_timeout:g} seconds that it may take"
        " (PUSH_SERVER['publisher_timeout']); this one was not sent."
    )


class Publisher(Protocol):
    """A way for a message to reach the push server.

    Both methods publish one message within ``publisher_timeout`` seconds, and raise
    :class:`PublishError` if that fails.

    Args:
        update: The message and its channel.
        request: A POST of it, for who publishes over HTTP: receivers of
            ``pre_send_update`` may have given it headers of their own. None if there
            are no receivers.
    """

    def publish_sync(self, update: Update, request: Request | None = None) -> Receipt:
        """Publish a message from sync code, which uses neither threads nor loops."""

    async def publish(self, update: Update, request: Request | None = None) -> Receipt:
        """Publish a message from async code."""
