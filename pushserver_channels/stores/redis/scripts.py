"""The scripts that run inside Redis: an atomic one for each method of the store.

Their sources are in ``lua/``.

A channel is a stream of its messages, whose ids are exactly those of the protocol, and
a hash with these fields:

``made``
    1 if the channel exists; missing after it was deleted or removed.
``used``, ``asked``
    When it was last used, and when a subscriber last requested it.
``time``, ``tag``
    The id of its last message, kept or not.
``past_time``, ``past_tag``
    The last id it had before it was deleted or removed: ids continue from there.
``expiry_set``
    The second in which a kept message last set when Redis removes the messages and
    this hash. Others of the same second need not set it again.
``next_end``, ``mixed``
    If messages have a time limit of their own: the last second of the one that ends
    next; and 1 if others may have none. If all have one, Redis removes the stream after
    the last end. A sorted set beside the hash has the ids of these messages by their
    last second. It exists only for such channels, so its key is built where it is used.

A channel on which nobody has published, and that no publisher has created, has no keys:
requests of subscribers write nothing there, or anybody could fill Redis. To publishers
it exists while subscribers wait on it, and for a while in a process in which they asked
for it, which knows that by itself.

The hash outlives the channel by :data:`GRACE` seconds. Until then a channel that is
created again continues from its last id: the ids increase even if the clock was set
back, and a client from before is told of a gap. A request of a subscriber is enough to
create it then. Of a channel without a hash it is only
known that its messages, if it had any, are older than GRACE. So the previous id of its
first message is an id of that age.

A message with an idempotency key leaves a receipt, in a key of its own beside the hash.
As long as it is there, the same again is answered with it.

A store that is new, was emptied or may have lost its newest messages writes a mark, an
id that no message has. All ids that it gave before are older, and all that it gives
from then on are newer, so a client that comes back is told of a gap. The key has the
mark's time, the run of Redis in which it was written, and the mark's tag: microseconds,
so that a store that is emptied twice in a second does not write one mark twice. (The
first release reads no tag, and takes it for 0.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1

from pushserver.conf import RedisStoreSettings

from .lua import read_lua
from .presence_scripts import make_presence_scripts
from .resp import pack

#: Seconds for which the last id of a channel is kept after the channel was removed.
GRACE = 3600

# A Redis that is full runs no script without this flag. These scripts free memory
# before they write. (With it, Redis does not refuse their writes.)
_ALLOWED_WHEN_FULL = "#!lua flags=allow-oom\n"

#: The scripts of the channels.
_NAMES = ("append", "next", "position", "info", "create", "delete", "touch")

#: The scripts that Redis does not run when it is full.
_APPENDING = ("append", "presence")


@dataclass(frozen=True, eq=False)
class Script:
    """A script.

    Attributes:
        text: Its source.
        digest: The name by which Redis knows it once it was sent.
        packed_text: The beginning of a command that sends it in full.
        packed_digest: The same for a Redis that knows it.
    """

    text: str
    digest: str = field(init=False, repr=False)
    packed_text: bytes = field(init=False, repr=False)
    packed_digest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "packed_text", pack("EVAL", self.text))
        object.__setattr__(self, "packed_digest", pack("EVALSHA", digest))


def make_scripts(
    settings: RedisStoreSettings, *, sharded: bool
) -> Mapping[str, Script]:
    """Return the scripts by name, for the limits of a store."""
    constants = {
        "MIN_MESSAGES": settings.min_messages,
        "MAX_MESSAGES": settings.max_messages,
        "MESSAGE_TIMEOUT": settings.message_timeout,
        "CHANNEL_TIMEOUT": settings.channel_timeout,
        "GRACE": GRACE,
        "PUBLISH": "'SPUBLISH'" if sharded else "'PUBLISH'",
        "NUMSUB": "'SHARDNUMSUB'" if sharded else "'NUMSUB'",
    }
    limits = "".join(f"local {name} = {value}\n" for name, value in constants.items())
    begin = limits + read_lua("begin")
    scripts = {name: read_lua(name) for name in _NAMES}
    scripts |= make_presence_scripts(scripts["append"])
    return {
        name: Script(
            ("#!lua\n" if name in _APPENDING else _ALLOWED_WHEN_FULL) + begin + script
        )
        for name, script in scripts.items()
    }
