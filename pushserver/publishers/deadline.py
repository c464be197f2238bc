"""One time limit for all steps of a publish."""

from __future__ import annotations

from math import inf
from time import monotonic


class Deadline:
    """The time by which an operation of several steps must have ended.

    Args:
        seconds: The time limit of the whole operation, 0 for none.
    """

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = monotonic() + seconds if seconds else inf

    @property
    def is_over(self) -> bool:
        """Whether the time limit has passed."""
        return monotonic() >= self._end

    def left(self, steps: int = 1) -> float | None:
        """Return the seconds that the next step may take, None for no limit.

        Args:
            steps: The number of remaining steps, including this one. Each gets an equal
                share of the time.

        Raises ``TimeoutError`` if the time limit has passed.
        """
        if not self.seconds:
            return None
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError(f"The limit of {self.seconds:g} seconds has passed.")
        return left / steps
