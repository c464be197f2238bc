"""Servers that tell who is on a channel, for testing faults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests import http
from tests.faults.worlds import LOCATIONS, World

#: The most seconds besides the grace until a member has left whose server was killed.
LATEST = 8.0

#: Seconds besides the grace after which others tell that the members of a server which
#: has ended have left, if they are not back.
NOTICED = 5.0

_MISSED = re.compile(
    r'^pushserver_limits_total\{limit="presence_signals"\} (\d+)', re.MULTILINE
)


class PresenceWorld(World):
    """Daphne processes with one store, which tell who is on the channels.

    Args:
        store: ``redis`` or ``memory``.
        grace: Seconds for which a member stays after its last connection.
        poll_timeout: Seconds for which a poll is held.
        options: Those of :class:`World`.
    """

    application = "tests.faults.presence.site:application"

    def __init__(
        self,
        store: str,
        *,
        grace: float = 15.0,
        poll_timeout: float = 8.0,
        **options: Any,
    ) -> None:
        super().__init__(store, **options)
        self.grace = grace
        subscriber = {
            "type": "subscriber",
            "url": "/updates/([^/]+)",
            "create_on_get": True,
            "timeout": poll_timeout,
            "authorize": "tests.server.presence.visitors.may_listen",
            "presence": True,
            "presence_grace": grace,
            "presence_limit": 0,
        }
        metrics = {"type": "metrics", "url": "/metrics", "allow_from": ["127.0.0.1"]}
        self.locations = (LOCATIONS[0], metrics, subscriber)

    @property
    def _signals(self) -> Path:
        return self.directory / "signals"

    def find_environment(self) -> dict[str, str]:
        return {"TEST_SIGNALS": str(self._signals)}

    def read_signals(self) -> list[tuple[str, str]]:
        """Return the signals of all servers: what has happened, and the user."""
        lines = self._signals.read_text().splitlines()
        return [
            (kind, user) for kind, _, user in (each.partition(" ") for each in lines)
        ]

    def read_members(self) -> list[set[str]]:
        """Return who is there, as each server tells somebody who comes now."""
        states: list[Any] = [
            http.get(f"{each.url}/updates/presence:room").json()
            for each in self.servers
        ]
        return [set(each["members"]) for each in states]

    def count_missed(self) -> int:
        """Return how many signals the servers say that they have not sent."""
        texts = [http.get(f"{each.url}/metrics").text for each in self.servers]
        return sum(int(each) for text in texts for each in _MISSED.findall(text))
