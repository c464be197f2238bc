"""Commands that were sent and have no answer yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .errors import CommandError


class PendingCommand:
    """A command that was sent and has no answer yet.

    Attributes:
        answer: The future of its answer.
        answered_by_push: Whether Redis answers with a push, as to SUBSCRIBE.
        convert: Called with the answer before anything else is read; returns the
            result of the future. None if that is the answer itself.
        sent_at: The tick of the connection in which it was sent.
    """

    __slots__ = ("answer", "answered_by_push", "convert", "sent_at")

    def __init__(
        self,
        answer: asyncio.Future[Any],
        answered_by_push: bool,
        convert: Callable[[Any], Any] | None,
        sent_at: int,
    ) -> None:
        self.answer = answer
        self.answered_by_push = answered_by_push
        self.convert = convert
        self.sent_at = sent_at

    def succeed(self, answer: Any) -> None:
        """Set the answer, unless its task was cancelled. Raises as ``convert`` does."""
        if not self.answer.done():
            convert = self.convert
            self.answer.set_result(answer if convert is None else convert(answer))

    def fail(self, error: CommandError) -> None:
        """Set an error in place of the answer, unless its task was cancelled."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # So that asyncio logs nothing if none awaits it.
