"""The results of checks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: The name of the check.
        ok: True if all is well, False if there is a fault, None if the check was not
            made.
        text: What was found, or why the check was not made.
        advice: How to correct a fault.
        applies: Whether there is something to check with these settings.
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
    """A check found a fault.

    Args:
        text: What is wrong.
        advice: How to correct it.
    """

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text, advice)
        self.text = text
        self.advice = advice


class NotChecked(Exception):
    """A check could not be made, because another fault prevents it."""


class NotApplicable(Exception):
    """There is nothing to check with these settings."""
