"""Whether the calling code runs in an event loop, and so must not block."""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, get_running_loop


def find_running_loop() -> AbstractEventLoop | None:
    """Return the event loop that the calling code runs in, None if there is none.

    Greenlets of gevent and eventlet share a thread, so asyncio also reports an event
    loop that runs in another greenlet. Code that blocks does not block that loop, so it
    is ignored here.
    """
    try:
        loop = get_running_loop()
    except RuntimeError:
        return None
    if _has_greenlets() and not _is_called_by_loop():
        return None
    return loop


def runs_in_event_loop() -> bool:
    """Return whether the calling code runs in an event loop."""
    return find_running_loop() is not None


def _has_greenlets() -> bool:
    """Return whether gevent or eventlet has replaced threads by greenlets."""
    gevent = sys.modules.get("gevent.monkey")
    eventlet = sys.modules.get("eventlet.patcher")
    return (gevent is not None and gevent.is_module_patched("threading")) or (
        eventlet is not None and eventlet.is_monkey_patched("thread")
    )


def _is_called_by_loop() -> bool:
    """Return whether an event loop is on the call stack of the current greenlet."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name in ("run_forever", "_run_once"):
            return True
    return False
