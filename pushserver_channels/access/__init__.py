"""Who may publish, and who may listen."""

from .guard import Guard, make_guards
from .publishers import AddressAccess, PublisherAccess

__all__ = ["AddressAccess", "Guard", "PublisherAccess", "make_guards"]
