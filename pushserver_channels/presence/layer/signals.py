"""Which process sends the signals of a member that has come or gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from pushserver_channels.presence.base import Transition
from pushserver_channels.presence.telling import count_missed

from .exchange import BEAT
from .view import LAG, Process, View

#: Seconds for which a process that sends no signals remembers who has come and gone. If
#: the one that does has died meanwhile, it sends them.
KEPT_FOR = LAG + 4 * BEAT


class Signals:
    """Lets the oldest process send the signals.

    Args:
        view: The members of all processes.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._ready: dict[str, list[Transition]] = {}
        # When members came and went for which another process sends the signal.
        self._recent: deque[tuple[float, str, Transition]] = deque()
        self._is_oldest = False
        # The process that sends them, None if there is none, or it is this one.
        self._oldest: Process | None = None

    def add(self, channel_id: str, transition: Transition, now: float) -> bool:
        """Note that a member has come or gone; return whether to send its signal.

        Args:
            channel_id: The channel.
            transition: What has happened.
            now: The time of the event loop.
        """
        if self._is_oldest:
            self._ready.setdefault(channel_id, []).append(transition)
            return True
        self._recent.append((now, channel_id, transition))
        while self._recent[0][0] < now - KEPT_FOR:
            self._recent.popleft()
        return False

    def take(self, channel_id: str) -> list[Transition]:
        """Return the transitions of a channel whose signals this process has to send.

        It sends them once.
        """
        return self._ready.pop(channel_id, [])

    def note_beat(self) -> Collection[str]:
        """Note which process is the oldest.

        Returns the channels whose signals this process has to send in place of the one
        that was the oldest before.
        """
        older = [
            each
            for name, each in self._view.others.items()
            if name < self._view.own.name and each.is_alive
        ]
        was_oldest, self._is_oldest = self._is_oldest, not older
        before, self._oldest = (
            self._oldest,
            min(older, key=lambda each: each.name, default=None),
        )
        if was_oldest or older:
            return ()
        ended_at = float("-inf") if before is None else before.heard_at
        is_certain = before is None or before.has_ended
        for at, channel_id, transition in self._recent:
            if at > ended_at + (0 if is_certain else BEAT):
                self._ready.setdefault(channel_id, []).append(transition)
            elif at > ended_at:
                count_missed()  # It may have been sent, or not.
        self._recent.clear()
        return list(self._ready)
