"""The store in Redis: one stream for each channel, and pub/sub as its bell."""

from .servers import find_servers
from .store import RedisStore

__all__ = ["RedisStore", "find_servers"]
