"""Tell the other processes of the members of this one, and learn theirs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.stores.layer_group import LayerGroup

from .events import Told, pack, unpack
from .learning import Learning
from .view import Process, View

logger = logging.getLogger("pushserver.presence")

#: Seconds between two beats, and between two events with changes.
BEAT = 1.0

#: Seconds between two events of which one alone would be too large.
PART_INTERVAL = 0.05


class ExchangeOwner(Protocol):
    """What uses an exchange."""

    @property
    def is_stopping(self) -> bool:
        """Whether the server stops."""

    def find_limit(self, channel_id: str) -> int:
        """Return the most members of a channel that are named."""

    def set_limit(self, channel_id: str, limit: int) -> None:
        """Set it, as another process has it."""

    def note_beat(self) -> None:
        """Note a beat. Not called while this process does not receive its own."""


class Exchange:
    """Tells the other processes of the members of this one, and learns theirs.

    Each process numbers its events about members, and sends a beat with the last number
    every second. Whoever misses a number asks that process for all of its members; one
    that starts asks all processes.

    Args:
        view: The members of all processes.
        owner: What uses the exchange.

    Attributes:
        learning: Learns the members of the others.
        is_hearing: Whether this process receives what it sends. If it does not, it
            cannot know who is silent.
        has_ended: Whether it has said that it stops.
    """

    def __init__(self, view: View, owner: ExchangeOwner) -> None:
        self._view = view
        self._owner = owner
        self.learning = Learning(view, owner.set_limit)
        self._loop = asyncio.get_running_loop()
        self._group: LayerGroup
        self._number = 0
        # The members of which the others have to be told, by channel.
        self._changed: dict[str, dict[str, None]] = {}
        self._wake = asyncio.Event()
        self._has_asked_all = self._was_asked = self._was_asked_by_all = False
        self._has_echo = self.is_hearing = self.has_ended = False
        self._beaten_at = self._loop.time()

    def start(self, group: LayerGroup) -> None:
        """Start to exchange events with a group."""
        self._group = group
        group.start_task(self._run())

    # Sending

    def tell(self, channel_id: str, member: str) -> None:
        """Tell the other processes of a member of this one."""
        self._changed.setdefault(channel_id, {})[member] = None
        self._wake.set()

    async def _run(self) -> None:
        """Send what is due, as long as the server serves."""
        beat_at = changes_at = 0.0
        state: Iterator[dict[str, Any]] | None = None
        while not self._owner.is_stopping:
            now = self._loop.time()
            try:
                await self._group.join()
                if now >= beat_at:
                    beat_at = now + BEAT
                    await self._beat()
                if self._was_asked and state is None:
                    state = self._build_state()
                if state is not None:
                    event = next(state, None)
                    if event is None:
                        state = None
                    else:
                        await self._send_numbered(**event)
                if self._changed and now >= changes_at:
                    await self._send_changes()
                    changes_at = now + (PART_INTERVAL if self._changed else BEAT)
            except StoreUnavailable:
                if self._group.is_closed:
                    return
                beat_at, state = now + BEAT, None  # Whoever misses it asks again.
            except Exception:
                text = "Presence cannot be told to the other processes"
                logger.exception(text, extra={"reason": "failed"})
            ends = min(beat_at, changes_at) if self._changed else beat_at
            await self._sleep_until(ends if state is None else now + PART_INTERVAL)
        self.has_ended = True
        with suppress(StoreUnavailable):
            await self._send("end")

    async def _sleep_until(self, when: float) -> None:
        """Sleep until a time of the event loop, or until something is to be sent."""
        self._wake.clear()
        # Not wait_for(), which may swallow that the task is cancelled.
        timer = self._loop.call_at(when, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _send(self, kind: str, **event: Any) -> None:
        event |= {"type": f"presence.{kind}", "sender": self._view.own.name}
        await self._group.send(event, "")

    async def _send_numbered(self, kind: str, **event: Any) -> None:
        """Send an event about members.

        Its number is not used again if that fails, because some may have received it.
        """
        self._number += 1
        await self._send(kind, number=self._number, **event)

    async def _send_changes(self) -> None:
        """Tell the others of the next members of which they have to be told."""
        rooms = next(pack(self._take_changed()))
        try:
            await self._send_numbered("changes", rooms=rooms)
        except BaseException:
            for told in unpack(rooms):
                self.tell(told.channel_id, told.member)
            raise

    def _take_changed(self) -> Iterator[Told]:
        """Return what to tell about changed members, which then count as told."""
        own = self._view.own
        while self._changed:
            channel_id, members = next(reversed(self._changed.items()))
            member, _ = members.popitem()
            if not members:
                del self._changed[channel_id]
            limit = self._owner.find_limit(channel_id)
            yield Told(channel_id, limit, member, own.find(channel_id, member))

    def _build_state(self) -> Iterator[dict[str, Any]]:
        """Return events with all members of this process.

        Changes may be sent in between, so each event is built when it is sent. The
        oldest process adds those of processes that cannot answer any more.
        """
        is_for_all, self._was_asked_by_all = self._was_asked_by_all, False
        self._was_asked = False
        yield {"kind": "state"}
        for rooms in pack(self._list_members(self._view.own)):
            yield {"kind": "changes", "rooms": rooms}
        yield {"kind": "complete"}
        if is_for_all and not self._view.has_older_with_members:
            for each in list(self._view.others.values()):
                if each.silent or each.has_ended:
                    for rooms in pack(self._list_members(each)):
                        yield {
                            "kind": "silent",
                            "name": each.name,
                            "seconds": each.silent,
                            "rooms": rooms,
                        }

    def _list_members(self, process: Process) -> Iterator[Told]:
        for channel_id in list(process.rooms):
            limit = self._owner.find_limit(channel_id)
            for member in list(process.rooms.get(channel_id, ())):
                entry = process.find(channel_id, member)
                if entry is not None:
                    yield Told(channel_id, limit, member, entry)

    # Beats

    async def _beat(self) -> None:
        """Note which processes are silent, send a beat, and ask for what is missing."""
        now = self._loop.time()
        since, self._beaten_at = self._beaten_at, now
        self.is_hearing, self._has_echo = self._has_echo, False
        if self.is_hearing:
            await self.learning.note_silence(since, now)
            self._owner.note_beat()
        names = self.learning.list_missing()
        if names or not self._has_asked_all:
            await self._send("ask", names=names if self._has_asked_all else [])
            self._has_asked_all = True
        await self._send("beat", number=self._number)

    # Receiving

    def note_loss(self) -> None:
        pass  # The numbers say what is missing.

    async def announce(self) -> None:
        pass  # There are beats.

    def handle_event(self, event: dict[str, Any]) -> None:
        """Process an event of any process, including this one."""
        name = event["sender"]
        if name == self._view.own.name:
            self._has_echo = self.is_hearing = True
            return
        kind = event["type"].removeprefix("presence.")
        self.learning.take(kind, event, self._loop.time())
        if kind == "ask":
            names = event["names"]
            if not names or self._view.own.name in names:
                self._was_asked = True
                self._was_asked_by_all |= not names
                self._wake.set()
