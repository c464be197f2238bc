"""Warnings that are logged at most once a minute."""

from __future__ import annotations

import logging
import time

#: Seconds between two lines.
LOG_INTERVAL = 60.0


class RareLog:
    """Logs a warning at most once in :data:`LOG_INTERVAL` seconds.

    Args:
        logger: The logger.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._logged_at = float("-inf")
        self._count = 0

    def warn(self, text: str, *values: object, count: int = 1) -> None:
        """Count an event, and log a warning unless that was done a moment ago.

        Args:
            text: The warning, with placeholders for the values and, as the last one,
                for the number of all events so far.
            values: The values.
            count: How many events these are.
        """
        self._count += count
        now = time.monotonic()
        if now - self._logged_at >= LOG_INTERVAL:
            self._logged_at = now
            self._logger.warning(text, *values, self._count)
