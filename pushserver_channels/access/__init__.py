"""Who may publish, and who may listen."""

from .guard import Decider, Guard, make_guards
from .publishers import AddressAccess, PublisherAccess
from .reserved import ReservedChannels

__all__ = [
    "AddressAccess",
    "Decider",
    "Guard",
    "PublisherAccess",
    "ReservedChannels",
    "make_guards",
]
