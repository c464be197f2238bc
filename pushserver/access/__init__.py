"""Who may listen to a channel, and for how long."""

from .grants import Grant
from .revoking import RevocationError, arevoke, revoke, revoke_on_logout
from .tokens import publisher_token

__all__ = [
    "Grant",
    "RevocationError",
    "arevoke",
    "publisher_token",
    "revoke",
    "revoke_on_logout",
]
