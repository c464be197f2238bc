"""TCP keep-alive, to notice clients that vanish without closing their connection.

A machine that loses its power or its network closes nothing, so its held request would
never end.
"""

from __future__ import annotations

import socket

#: After a minute of silence a probe is sent; after four probes without an answer, 15
#: seconds apart, the connection is closed. In seconds, by the names of the socket
#: options on different platforms.
INTERVALS = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPALIVE": 60,  # TCP_KEEPIDLE on macOS.
    "TCP_KEEPINTVL": 15,
    "TCP_KEEPCNT": 4,
}

#: Milliseconds for which sent data may stay unacknowledged before the connection is
#: closed (on Linux; elsewhere it takes about a quarter of an hour).
UNANSWERED = 120_000


def keep_alive(listener: socket.socket) -> None:
    """Enable keep-alive for the connections that a socket accepts.

    They inherit the options, so it costs nothing for each connection.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {**INTERVALS, "TCP_USER_TIMEOUT": UNANSWERED}
    for name, value in options.items():
        option = getattr(socket, name, None)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
