"""Log what may happen thousands of times a second once a minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping


class PacedLog:
    """Logs an event at once, and the number of those that follow after a while.

    Args:
        logger: The logger.
        text: A format for the number of events since the last line, and for the
            details of the last one.
        seconds: The least number of seconds between two lines.
    """

    def __init__(self, logger: logging.Logger, text: str, seconds: float = 60) -> None:
        self._logger = logger
        self._text = text
        self._seconds = seconds
        self._count = 0
        self._details: tuple[object, ...] = ()
        self._extra: Mapping[str, str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(
        self,
        *details: object,
        count: int = 1,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Log an event, now or after a while. Called on an event loop.

        Args:
            details: The details.
            count: How many events these are.
            extra: The attributes of the log record.
        """
        self._count += count
        self._details = details
        self._extra = extra
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # Nothing was logged lately.
            self._loop = loop
            self._write()

    def _write(self) -> None:
        if not self._count or self._loop is None:
            self._loop = None
            return
        self._logger.warning(self._text, self._count, *self._details, extra=self._extra)
        self._count = 0
        self._loop.call_later(self._seconds, self._write)
