"""Who may publish, and who may listen."""

from .guard import Guard, make_guards
from .publishers import PublisherAccess

__all__ = ["Guard", "PublisherAccess", "make_guards"]
