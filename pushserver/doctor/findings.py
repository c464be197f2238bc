"""What a check can say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        ok: Whether all is well, None if it does not apply or could not be tried.
        text: What was seen.
        advice: What to do about it.
    """

    check: str
    ok: bool | None
    text: str
    advice: str = ""


class Failure(Exception):
    """Something is wrong, in a sentence, and what to do about it."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text, advice)
        self.text = text
        self.advice = advice


class NotTried(Exception):
    """A check does not apply, or needs something that is not there."""
