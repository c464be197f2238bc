"""TCP keep-alive: noticing that a client has vanished without a word.

A machine that loses its power or its network says nothing, and who only waits for it to
leave waits for ever.
"""

from __future__ import annotations

import socket

#: After a minute without a word a client is asked, and is gone after four questions
#: without an answer: in two minutes. By the names that platforms have for it, in s.
INTERVALS = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPALIVE": 60,  # The same on macOS.
    "TCP_KEEPINTVL": 15,
    "TCP_KEEPCNT": 4,
}

#: Milliseconds for which a client may leave what it was sent without an answer, or not
#: read on. (Linux; elsewhere it is noticed after about a quarter of an hour.)
UNANSWERED = 120_000


def keep_alive(listener: socket.socket) -> None:
    """Let the connections that a socket accepts be watched.

    They inherit it, so that it costs nothing for each.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {**INTERVALS, "TCP_USER_TIMEOUT": UNANSWERED}
    for name, value in options.items():
        option = getattr(socket, name, None)
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
