"""What this process knows of the members of all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

#: Seconds after which a process that was not heard of counts as dead. Its members stay
#: for their grace after that. A layer may drop some of its beats.
LAG = 4.0


class Entry(NamedTuple):
    """A member of one process.

    Attributes:
        grace: Seconds for which it stays when its process ends without a word.
        info: What is told about it, as JSON.
        revision: Of several processes, the one with the highest has the newest info.
    """

    grace: float
    info: str
    revision: int


class Process:
    """A process, and its members as far as they are known here.

    Attributes:
        name: Its name. The older of two processes has the smaller one.
        rooms: Its members, by channel.
        number: The number of the last event that changed its members, None if no event
            of it has come.
        is_complete: Whether no such event was missed.
        given: The members that a state which is arriving has had so far, by channel;
            None if none is arriving.
        heard_at: When it was last heard of, by the event loop's clock.
        silent: Seconds for which it was not heard of, as this process has noticed.
        has_ended: Whether it has said that it stops.
    """

    __slots__ = (
        "given",
        "has_ended",
        "heard_at",
        "is_complete",
        "name",
        "number",
        "rooms",
        "silent",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.rooms: dict[str, dict[str, Entry]] = {}
        self.number: int | None = None
        self.is_complete = True
        self.given: set[tuple[str, str]] | None = None
        self.heard_at = float("-inf")
        self.silent = 0.0
        self.has_ended = False

    @property
    def is_alive(self) -> bool:
        return self.silent < LAG and not self.has_ended

    def find(self, channel_id: str, member: str) -> Entry | None:
        """Return what it has of a member, None for nothing."""
        members = self.rooms.get(channel_id)
        return None if members is None else members.get(member)


class View:
    """The members of all processes.

    It depends on nothing but what the processes have, so all processes that have heard
    the same have the same view.

    Args:
        own: This process.
        change: Called with a channel, a member and what is told about it from now on,
            None if it is on the channel in no process any more.

    Attributes:
        own: This process.
        others: The other processes by name.
    """

    def __init__(
        self, own: Process, change: Callable[[str, str, str | None], None]
    ) -> None:
        self.own = own
        self.others: dict[str, Process] = {}
        self._change = change

    @property
    def rank(self) -> int:
        """How many older processes there are."""
        return sum(
            each.name < self.own.name and each.is_alive for each in self.others.values()
        )

    @property
    def has_older_with_members(self) -> bool:
        """Whether an older process has had members.

        One that has just started, and whose clock was set back, has not.
        """
        return any(
            each.name < self.own.name and each.is_alive and each.number
            for each in self.others.values()
        )

    def find_newest(self, channel_id: str, member: str) -> Entry | None:
        """Return what the process has of a member that has the newest info of it."""
        newest = self.own.find(channel_id, member)
        holder = self.own.name
        for name, process in self.others.items():
            entry = process.find(channel_id, member)
            if entry is not None and (
                newest is None or (entry.revision, name) > (newest.revision, holder)
            ):
                newest, holder = entry, name
        return newest

    def set(
        self, process: Process, channel_id: str, member: str, entry: Entry | None
    ) -> None:
        """Set what a process has of a member, None if it has left there."""
        members = process.rooms.get(channel_id)
        if entry is None:
            if members is None or members.pop(member, None) is None:
                return
            if not members:
                del process.rooms[channel_id]
        elif members is None:
            process.rooms[channel_id] = {member: entry}
        else:
            members[member] = entry
        newest = self.find_newest(channel_id, member)
        self._change(channel_id, member, None if newest is None else newest.info)
