"""The site of the tests, which writes the signals of presence into a file."""

from __future__ import annotations

import os
from typing import Any

from pushserver.signals import member_joined, member_left
from tests.asgi import application

__all__ = ["application"]

_signals = os.open(os.environ["TEST_SIGNALS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note_joined(user: str, **others: Any) -> None:
    os.write(_signals, f"joined {user}\n".encode())


def note_left(user: str, **others: Any) -> None:
    os.write(_signals, f"left {user}\n".encode())


member_joined.connect(note_joined)
member_left.connect(note_left)
