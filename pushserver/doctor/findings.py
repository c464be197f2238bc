"""What a check can say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        ok: Whether all is well, None if the check was not made.
        text: What was seen, or why the check was not made.
        advice: What to do about it.
        applies: Whether there is something to check with these settings. A check that
            applies and was not made leaves it open whether all is well.
    """

    check: str
    ok: bool | None
    text: str
    advice: str = ""
    applies: bool = True

    @property
    def is_inconclusive(self) -> bool:
        """Whether the check could not be made although it applies."""
        return self.ok is None and self.applies


class Failure(Exception):
    """Something is wrong, in a sentence, and what to do about it."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text, advice)
        self.text = text
        self.advice = advice


class NotChecked(Exception):
    """A check cannot be made, because something that it needs is not there."""


class NotApplicable(Exception):
    """With these settings there is nothing to check."""
