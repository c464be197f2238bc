"""Divide many messages into parts, each of which is published together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .base import PublishError, Receipt
from .update import Publication

#: The most messages of a part.
MAX_UPDATES = 1000

#: The most bytes of the bodies of a part that has several messages.
MAX_BYTES = 4_194_304

#: The reason of a message that is not sent because others have failed.
WHY_SKIPPED = (
    "it was not sent, because the push server or its store was unavailable for updates"
    " before it in the same call."
)


def divide(publications: Sequence[Publication]) -> Iterator[list[Publication]]:
    """Yield the parts, in order."""
    part: list[Publication] = []
    size = 0
    for each in publications:
        body = len(each.update.body)
        if part and (len(part) == MAX_UPDATES or size + body > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(each)
        size += body
    if part:
        yield part


def are_unavailable(outcomes: Sequence[Receipt | PublishError]) -> bool:
    """Return whether all messages of a part failed as those after it would."""
    return all(
        isinstance(each, PublishError) and each.status in (None, 503)
        for each in outcomes
    )
