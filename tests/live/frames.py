"""The frames of a WebSocket as a client sends them. Source: RFC 6455."""

from __future__ import annotations


def frame(opcode: int, payload: bytes, *, length: int | None = None) -> bytes:
    """Return a frame as a client sends it, masked by zeros; its length may be wrong."""
    size = len(payload) if length is None else length
    if size < 126:
        head = bytes([opcode, 128 | size])
    elif size < 65536:
        head = bytes([opcode, 128 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([opcode, 128 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


#: The opcodes of a text that is not finished and of its end, of a whole text, of bytes,
#: and of control frames.
PART, REST, TEXT, BYTES, CLOSE, PING, PONG = 0x01, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
