"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime, timezone

#: Units of time in seconds, the largest first.
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

#: The most bytes of a body of which each byte is counted.
_KIB = 1024


def show_age(seconds: float | None) -> str:
    """Return a duration, as in ``12 s``, in its largest unit."""
    if seconds is None:
        return "–"
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds / length)} {unit}"
    return "now"


def show_rate(per_minute: float) -> str:
    """Return a rate, as in ``3.5/min`` or ``12/s``."""
    if per_minute >= 60:
        return f"{per_minute / 60:.3g}/s"
    if per_minute >= 10:
        return f"{per_minute:.0f}/min"
    return f"{per_minute:.2g}/min" if per_minute else "–"


def show_size(size: int) -> str:
    """Return a number of bytes, as in ``1.5 KiB``."""
    if size < _KIB:
        return f"{size} B"
    if size < _KIB**2:
        return f"{size / _KIB:.1f} KiB"
    return f"{size / _KIB**2:.1f} MiB"


def show_time(seconds: int) -> str:
    """Return the time in an id, in UTC."""
    try:
        at = datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return str(seconds)
    return at.strftime("%Y-%m-%d %H:%M:%S")
