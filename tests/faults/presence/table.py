"""The outcomes of the faults for those who are on a channel, as a table."""

from __future__ import annotations

from pathlib import Path

from tests.faults.tables import Table

from .faults import ALL, PRESENCE_FAULTS, PresenceFault
from .outcomes import Outcome


def describe_title(fault: PresenceFault) -> str:
    """Return the title of a fault."""
    return f"{fault.title}."


def describe(fault: PresenceFault, store: str, outcome: Outcome) -> str:
    """Describe the outcome of a fault in words."""
    costs = [
        f"**{count} {what}**"
        for count, what in (
            (outcome.ghosts, "ghosts"),
            (outcome.forgotten, "forgotten"),
            (outcome.repeated, "told twice"),
            (outcome.doubled, "signals twice"),
            (outcome.flickered, "left and came again"),
        )
        if count
    ]
    why = fault.may_flicker.get(store, "")
    reason = f" (*{why}*)" if outcome.flickered and why else ""
    right = (", ".join(costs) or "nobody wrong") + reason
    signals = f"{outcome.signals} signals"
    if outcome.missed:
        signals += f" ({outcome.missed} missed, {outcome.counted} of them counted)"
    messages = f"{outcome.told} messages" if outcome.told != 1 else "1 message"
    return (
        f"{right}; {messages}, {outcome.busiest} in a second at most; {signals};"
        f" right after {max(outcome.settled, 0):.1f} s"
    )


PRESENCE_TABLE = Table(
    name="presence fault table",
    results=Path(__file__).with_name("results.json"),
    outcome=Outcome,
    faults=PRESENCE_FAULTS,
    stores=ALL,
    widths="34 33 33",
    title=describe_title,
    describe=describe,
)
