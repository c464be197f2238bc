"""Who may publish, and who may listen."""

from .guard import Guard
from .publishers import PublisherAccess

__all__ = ["Guard", "PublisherAccess"]
