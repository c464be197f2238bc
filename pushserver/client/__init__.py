"""Listen to channels from Python: tests, scripts and services."""

from .listener import Listener, listen
from .received import Received
from .session import ListenError

__all__ = ["ListenError", "Listener", "Received", "listen"]
