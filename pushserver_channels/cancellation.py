"""Undoing the cancellation of a task whose wait has ended."""

from __future__ import annotations

import sys
from asyncio import current_task


def uncancel() -> None:
    """Undo the cancellation of the running task, because its wait has ended.

    The server may have cancelled it at the same moment. It is answered all the same,
    because the publisher may have been answered that the message was delivered.
    """
    if sys.version_info >= (3, 11):
        task = current_task()
        assert task is not None, "There is a running task."
        task.uncancel()
