"""What a fault has cost those who are on a channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass
class Outcome:
    """The outcome of a fault, over all members and watchers.

    Attributes:
        members: How many members there are.
        ghosts: Members who have left, and are still told to be there when their grace
            is over and the time in which a killed server has to be noticed.
        forgotten: Members who are there then, and are told not to be.
        repeated: Joins and leaves that the channel told again.
        flickered: Members who stayed, and were told to leave and to come again.
        told: Messages of the channel, from the fault until all was right again.
        busiest: The most of them in a second.
        signals: Signals that were sent.
        doubled: Signals that were sent again.
        missed: Signals that were not sent.
        counted: Those of them that the metrics name.
        settled: Seconds after the fault until all was right again.
    """

    members: int = 0
    ghosts: int = 0
    forgotten: int = 0
    repeated: int = 0
    flickered: int = 0
    told: int = 0
    busiest: int = 0
    signals: int = 0
    doubled: int = 0
    missed: int = 0
    counted: int = 0
    settled: float = 0.0

    def add_view(self, seen: set[str], expected: set[str]) -> None:
        """Compare who is told to be there with who is."""
        self.ghosts = max(self.ghosts, len(seen - expected))
        self.forgotten = max(self.forgotten, len(expected - seen))

    def add_signals(
        self,
        sent: Iterable[tuple[str, str]],
        joins: Mapping[str, int],
        leaves: Mapping[str, int],
    ) -> None:
        """Compare the signals with how often each member has come and gone."""
        counts = Counter(sent)
        happened = Counter({("joined", user): count for user, count in joins.items()})
        happened.update({("left", user): count for user, count in leaves.items()})
        self.signals = counts.total()
        self.doubled = (counts - happened).total()
        self.missed = (happened - counts).total()
