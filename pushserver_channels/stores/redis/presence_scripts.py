"""The scripts that keep who is on the channels, in the slot of each presence channel.

Beside the keys of the presence channel ``presence:room`` there are:

``presence:…``
    A hash with what is known of the channel: how many members are named (``named``) and
    how many are not (``others``); these numbers and the time as they were told last
    (``told_named``, ``told_others``, ``told``); whether only numbers are told
    (``counted``); whether something waits to be told (``pending``); the limit; and the
    processes that have members (``p:<process>``).
``presence-members:…``
    A hash of the members: how many processes have each, and what is told about it.
``presence-of-<process>:…``
    A hash of the members that a process has, with the grace of each.
``presence-changes:…``
    A hash of the named members whose change waits to be told: ``j`` has come, ``l`` has
    gone, ``r`` has come again or is told about anew, and what is told about it.

Each slot of a process has, in addition:

``presence-processes``
    A sorted set of the processes by the time at which each was last alive.
``presence-rooms:<process>``
    A set of the presence channels on which it has members.
``presence-flush``
    A sorted set of the presence channels with changes that wait to be told, by the time
    at which any process tells them, if the one that made them has not.
``presence-due``
    A sorted set of those that have members of dead processes, by the time at which the
    next of these members leaves.
``presence-late``
    A set of the processes whose channels are in the latter, because they seem dead.
``presence-slot``
    A hash: ``epoch``, by which a process sees that Redis has lost its data; ``run``,
    the run of Redis; ``beat``, when a process was last alive; and ``hold``, until when
    no process is taken for dead, because all were away or the clock was set. For each
    process it has the shortest grace of its members (``grace:<process>``).

All keys expire, if no process renews them.
"""

from __future__ import annotations

from .lua import read_lua

#: Seconds after which the keys of a channel expire that no process renews.
LIFETIME = 7200

#: Seconds after which a process that was not heard of counts as dead. Its members stay
#: for their grace after that.
LAG = 3

#: Seconds in which processes have to be heard of, after none was.
HOLD = 6

#: The most members of dead processes that are removed at once, which blocks Redis.
MOST_EXPIRED = 250

#: The most channels that a process is given to look after in a second.
MOST_DUE = 5000


def make_presence_scripts(append: str) -> dict[str, str]:
    """Return the scripts by name, without what all scripts of the store begin with.

    Args:
        append: The script that appends a message.
    """
    appending = f"local function append(words, ARGV)\n{append}end\n"
    constants = {
        "LIFETIME": LIFETIME,
        "LAG": LAG,
        "HOLD": HOLD,
        "MOST_EXPIRED": MOST_EXPIRED,
        "MOST_DUE": MOST_DUE,
        "INTERVAL": 1,
        "NAMED_AGAIN": 0.9,
    }
    limits = "".join(f"local {name} = {value}\n" for name, value in constants.items())
    begin = limits + read_lua("presence_begin")
    return {
        "presence": appending + begin + read_lua("presence"),
        "presence_beat": begin + read_lua("presence_beat"),
        "presence_state": begin + read_lua("presence_state"),
    }
