"""The store in Redis: a stream for each channel, and pub/sub for new messages."""

from .servers import find_servers
from .store import RedisStore

__all__ = ["RedisStore", "find_servers"]
