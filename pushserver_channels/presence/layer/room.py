"""Who is on one channel, and what of that has to be told on its presence channel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pushserver_channels.messages import MessageId
from pushserver_channels.presence.base import (
    INTERVAL,
    NAMED_AGAIN,
    NO_CHANGE,
    USER,
    Snapshot,
    Transition,
)
from pushserver_channels.presence.bodies import build_counts, build_diff, build_state

#: Seconds for which each process waits for an older one to tell a change, times the
#: number of the older ones.
PATIENCE = 3.0


class Untold(NamedTuple):
    """A member about whom the channel has told something else than is true.

    Attributes:
        at: The time of the event loop from which on it has to be told.
        told: What the channel has told about it, as JSON; None if it is not there.
    """

    at: float
    told: str | None


class Room:
    """Who is on one channel, over all processes.

    What is told counts as told when the channel's message arrives here, whichever
    process has published it. So each process knows what another one should have told
    and has not, or has told wrongly because it did not know better.

    Attributes:
        members: What is told about each named member, as JSON, by the key of the user.
        others: The anonymous members.
        limit: The most members that are named, 0 for no limit.
        told_at: When the last message was published or arrived.
        timer: Publishes the next one.
        is_publishing: Whether one is being published.
    """

    def __init__(self) -> None:
        self.members: dict[str, str] = {}
        self.others: set[str] = set()
        self.limit = 0
        self.told_at = float("-inf")
        self.timer: asyncio.TimerHandle | None = None
        self.is_publishing = False
        self._is_counted = False  # Whether the last message had numbers only.
        self._told = (0, 0)
        self._untold: dict[str, Untold] = {}
        self._numbers_at: float | None = None

    @property
    def numbers(self) -> tuple[int, int]:
        """How many members are named, and how many are not."""
        return len(self.members), len(self.others)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there, and that was told."""
        return not (self.members or self.others) and self.find_due(0) is None

    @property
    def _is_counted_now(self) -> bool:
        """Whether only numbers should be told."""
        share = NAMED_AGAIN if self._is_counted else 1
        return 0 < self.limit * share < len(self.members)

    def describe(self) -> Snapshot:
        """Return who is there."""
        return Snapshot(NO_CHANGE, dict(self.members), *self.numbers)

    def describe_for_page(self, newest: MessageId, now: float) -> Snapshot:
        """Return who is there for a page that then gets what is told.

        What was told before this process knows it is in, because nobody tells it again.

        Args:
            newest: The id of the last message that has told something.
            now: The time of the event loop.
        """
        named, others = self.numbers
        if self._is_counted or self._is_counted_now:
            return Snapshot(newest, None, named, others)
        members = dict(self.members)
        for key, (at, told) in self._untold.items():
            if at > now and told is None:
                members.pop(key, None)
            elif at > now and told is not None:
                members[key] = told
        if self._numbers_at is not None and self._numbers_at > now:
            others = self._told[1]
        return Snapshot(newest, members, len(members), others)

    def change(
        self, member: str, info: str | None, now: float | None
    ) -> Transition | None:
        """Set what is told about a member, None if it is not there.

        Args:
            member: The member.
            info: What is told about it, as JSON.
            now: The time of the event loop, None if clients know it already.

        Returns the transition if the member has come or gone.
        """
        if not member.startswith(USER):
            if info is None:
                self.others.discard(member)
            else:
                self.others.add(member)
            self._note_numbers(now)
            return None
        key = member[len(USER) :]
        before = self.members.get(key)
        if before == info:
            return None
        if info is None:
            del self.members[key]
        else:
            self.members[key] = info
        self._note(key, before, now)
        self._note_numbers(now)
        if before is None:
            assert info is not None, "It is not what it was."
            return Transition(member, True, info)
        return Transition(member, False, before) if info is None else None

    def _note(self, key: str, before: str | None, now: float | None) -> None:
        """Note that what is true about a member has changed."""
        if self._is_counted:
            return
        known = self._untold.pop(key, None)
        if now is None:
            return
        at, told = (now, before) if known is None else known
        if told != self.members.get(key):
            self._untold[key] = Untold(min(at, now), told)

    def _note_numbers(self, at: float | None) -> None:
        """Note from when on numbers have to be told, if they are not those told."""
        if at is None:
            self._told = self.numbers
        named, others = self._told
        is_told = others == len(self.others) and (
            not self._is_counted or named == len(self.members)
        )
        if is_told or at is None:
            self._numbers_at = None
        elif self._numbers_at is None:
            self._numbers_at = at

    def hear(self, message: Mapping[str, Any], now: float) -> None:
        """Note what a message of the presence channel has told.

        Raises ``KeyError``, ``TypeError`` or ``AttributeError`` if it is none of ours.
        """
        self.told_at = now
        was_counted, self._is_counted = self._is_counted, "count" in message
        if self._is_counted:
            self._untold.clear()
            self._told = message["count"], message["others"]
        else:
            is_state = message["type"] == "state"
            told = message["members"] if is_state else message["joins"]
            infos = {key: each["info"] for key, each in told.items()}
            gone = [] if is_state else list(message["leaves"])
            if is_state or was_counted:
                gone = [key for key in self.members if key not in infos]
                self._untold.clear()
            for key in gone:
                self._note_told(key, None, now)
            for key, info in infos.items():
                self._note_told(key, json.dumps(info, separators=(",", ":")), now)
            self._told = len(self.members), message["others"]
        self._numbers_at = None
        self._note_numbers(now + PATIENCE)

    def _note_told(self, key: str, told: str | None, now: float) -> None:
        """Note what a message has told about a member."""
        info = self.members.get(key)
        if told == info or (told and info and json.loads(told) == json.loads(info)):
            self._untold.pop(key, None)
        else:
            # Perhaps the change is on its way to the process that has told it.
            known = self._untold.get(key)
            at = now + PATIENCE if known is None else known.at
            self._untold[key] = Untold(at, told)

    def find_due(self, rank: int) -> float | None:
        """Return when the next message is due, None if there is nothing to tell.

        Args:
            rank: How many older processes there are.
        """
        at = min((each.at for each in self._untold.values()), default=self._numbers_at)
        if at is None:
            return None
        if self._numbers_at is not None:
            at = min(at, self._numbers_at)
        return max(at + rank * PATIENCE, self.told_at + INTERVAL)

    def build_message(self, now: float, rank: int) -> bytes | None:
        """Return the message that tells what is due, None if nothing is."""
        due = now - rank * PATIENCE
        if (self.find_due(rank) or now + 1) > now:
            return None
        named, others = self.numbers
        if self._is_counted_now:
            return build_counts("diff", named, others)
        if self._is_counted:
            return build_state(self.describe())
        keys = [key for key, each in self._untold.items() if each.at <= due]
        joins = {key: self.members[key] for key in keys if key in self.members}
        leaves = {
            key: self._untold[key].told or "null"
            for key in keys
            if key not in self.members
        }
        return build_diff(joins, leaves, others)
