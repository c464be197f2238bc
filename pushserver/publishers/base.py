"""What all publishers share: their interface, the receipt and the error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pushserver.conf import get_settings

from .update import Publication


@dataclass(frozen=True)
class Receipt:
    """What happened to a published message.

    Attributes:
        status: 201 if it was sent to a waiting subscriber, 202 if not (200 from servers
            that do not distinguish).
        info: The channel info after it: ``messages``, ``requested`` (seconds),
            ``subscribers`` and ``last_message_id``; None if the server sent none.

    >>> Receipt(201, {"last_message_id": "1795350764:0"}).delivered
    True
    """

    status: int
    info: dict[str, Any] | None = None

    @property
    def delivered(self) -> bool:
        """Whether at least one waiting subscriber was sent the message."""
        return self.status == 201


class PublishError(OSError):
    """A message could not be published. The text says where, why and what to do.

    Attributes:
        url: The publisher URL, even if it was not used; None if there is none.
        reason: Why it was not published.
        status: The status of the push server's answer, None if it did not answer.
        place: Where the message was sent: the URL, or a description of the store.
    """

    def __init__(
        self,
        url: str | None,
        reason: str,
        status: int | None = None,
        place: str | None = None,
    ) -> None:
        super().__init__(url, reason)
        self.errno = None  # OSError sets it to its first argument, the URL.
        self.url = url
        self.reason = reason
        self.status = status
        self.place = place or url or "the push server"

    def __str__(self) -> str:
        return f"Could not publish to {self.place}: {self.reason}"


class UpdatesFailed(PublishError):
    """Some of the messages of one call could not be published.

    It has the attributes of the first error, and these:

    Attributes:
        receipts: The receipt of each message, None for those that failed.
        errors: The error of each message that failed, by its index.
    """

    def __init__(
        self, receipts: list[Receipt | None], errors: dict[int, PublishError]
    ) -> None:
        first = next(iter(errors.values()))
        super().__init__(first.url, first.reason, first.status, first.place)
        self.receipts = receipts
        self.errors = errors

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.receipts, self.errors)

    def __str__(self) -> str:
        first = next(iter(self.errors.values()))
        return (
            f"{len(self.errors)} of {len(self.receipts)} updates failed. The first"
            f" error: {first}"
        )


class LookupFailed(Exception):
    """The last messages of channels could not be looked up. The text says why."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"Could not look up messages at {place}: {reason}")


def why_not_started() -> str:
    """Return the reason of a publish whose time limit passed before it was sent."""
    return (
        "other updates were being published for all of the"
        f" {get_settings().publisher_timeout:g} seconds that it may take"
        " (PUSH_SERVER['publisher_timeout']); this one was not sent."
    )


class Publisher(Protocol):
    """Sends messages to the push server, and looks up the last ones.

    All methods for one message, and those that look up, take at most
    ``publisher_timeout`` seconds. The former raise :class:`PublishError`, and the
    latter :class:`LookupFailed`.
    """

    def publish_sync(self, publication: Publication) -> Receipt:
        """Publish a message from sync code, without threads or event loops."""

    async def publish(self, publication: Publication) -> Receipt:
        """Publish a message from async code."""

    def publish_several_sync(
        self, publications: Sequence[Publication]
    ) -> list[Receipt | PublishError]:
        """Publish messages at one location; return the receipt or the error of each.

        The messages of a channel are published in their order.
        """

    async def publish_several(
        self, publications: Sequence[Publication]
    ) -> list[Receipt | PublishError]:
        """Publish messages as :meth:`publish_several_sync` does, from async code."""

    def find_last_ids_sync(self, channel_ids: Sequence[str]) -> list[str]:
        """Return the id of the last message of each channel, ``0:0`` if it has none."""

    async def find_last_ids(self, channel_ids: Sequence[str]) -> list[str]:
        """Return the ids of :meth:`find_last_ids_sync`, from async code."""
