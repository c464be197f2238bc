"""Commands in RESP3, the protocol of Redis."""

from __future__ import annotations


def pack(*words: str | bytes | int) -> bytes:
    """Return the words of a command, without their number."""
    parts = []
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)
