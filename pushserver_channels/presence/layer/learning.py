"""Learn the members of other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from .events import unpack
from .view import LAG, Process, View

#: The most members of a dead process that are removed before other tasks run.
MAX_EXPIRED = 500

#: The most seconds that count as silence between two beats: this process may have been
#: frozen meanwhile.
MAX_SILENCE = 1.5


class Learning:
    """Learns the members of other processes from their events.

    Args:
        view: The members of all processes.
        set_limit: Called with a channel and the most members that are named there, as
            another process has it.
    """

    def __init__(self, view: View, set_limit: Callable[[str, int], None]) -> None:
        self._view = view
        self._set_limit = set_limit

    @property
    def knows_all(self) -> bool:
        """Whether no process is known of which something is missing."""
        return all(
            each.is_complete for each in self._view.others.values() if each.is_alive
        )

    @property
    def is_learning(self) -> bool:
        """Whether the members of a process are arriving."""
        return any(
            each.given is not None
            for each in self._view.others.values()
            if each.is_alive
        )

    def list_missing(self) -> list[str]:
        """Return the names of the processes that have to be asked for their members."""
        return [
            each.name
            for each in self._view.others.values()
            if each.is_alive and not each.is_complete and each.given is None
        ]

    async def note_silence(self, since: float, now: float) -> None:
        """Note which processes are silent, and remove the members of dead ones.

        Args:
            since: The time of the last beat of this process.
            now: The time of this one.
        """
        seconds = min(now - since, MAX_SILENCE)
        for process in list(self._view.others.values()):
            if process.heard_at >= since:
                continue
            process.silent += seconds
            over = process.silent - LAG
            if over < 0:
                continue
            expired = [
                (channel_id, member)
                for channel_id, members in process.rooms.items()
                for member, entry in members.items()
                if entry.grace <= over
            ]
            # If it is alive after all, it is asked for its members.
            process.is_complete = process.is_complete and not expired
            for count, (channel_id, member) in enumerate(expired, 1):
                if process.heard_at > now:
                    break
                self._view.set(process, channel_id, member, None)
                if count % MAX_EXPIRED == 0:
                    await asyncio.sleep(0)
            if not process.rooms and process.heard_at <= now:
                self._view.others.pop(process.name, None)

    def take(self, kind: str, event: dict[str, Any], now: float) -> None:
        """Take an event of another process.

        Args:
            kind: What kind of event it is.
            event: The event.
            now: The time of the event loop.
        """
        name = event["sender"]
        process = self._view.others.get(name)
        if process is None:
            process = self._view.others[name] = Process(name)
        process.heard_at, process.silent = now, 0.0
        process.has_ended = kind == "end"
        if kind == "beat":
            self._check_number(process, event["number"])
        elif "number" in event and self._check_number(process, event["number"] - 1):
            process.number = event["number"]
            self._take_numbered(process, kind, event)

    def _check_number(self, process: Process, number: int) -> bool:
        """Note whether events up to a number were missed.

        Returns whether the next one is new. (A layer may send an event again.)
        """
        last = process.number or 0
        if number > last or (process.number is None and number):
            process.is_complete, process.given = False, None
        process.number = max(last, number)
        return number >= last

    def _take_numbered(
        self, process: Process, kind: str, event: dict[str, Any]
    ) -> None:
        """Take an event about members."""
        if kind == "state":
            process.given = set()
        elif kind == "changes":
            self._take_members(process, event["rooms"])
        elif kind == "complete" and process.given is not None:
            given, process.given = process.given, None
            process.is_complete = True
            for channel_id, members in list(process.rooms.items()):
                for member in list(members):
                    if (channel_id, member) not in given:
                        self._view.set(process, channel_id, member, None)
        elif kind == "silent" and event["name"] != self._view.own.name:
            self._take_silent(event)

    def _take_members(self, process: Process, rooms: Iterable[list[Any]]) -> None:
        for channel_id, limit, member, entry in unpack(rooms):
            if entry is not None:
                self._set_limit(channel_id, limit)
            self._view.set(process, channel_id, member, entry)
            if process.given is not None and entry is not None:
                process.given.add((channel_id, member))

    def _take_silent(self, event: dict[str, Any]) -> None:
        """Take members of a process that cannot tell them any more."""
        process = self._view.others.get(event["name"])
        if process is None:
            process = self._view.others[event["name"]] = Process(event["name"])
            process.silent, process.has_ended = event["seconds"], True
        if process.has_ended and process.number is None:
            self._take_members(process, event["rooms"])
