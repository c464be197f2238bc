"""The outcomes of the faults for messages, as a table."""

from __future__ import annotations

from pathlib import Path

from .faults import ALL, FAULTS, Fault
from .tables import Table
from .traffic import Outcome


def describe_title(fault: Fault) -> str:
    """Return the title of a fault, and what it may cost."""
    reasons = filter(None, [fault.may_lose, fault.may_leave_open])
    return " ".join([f"{fault.title}.", *(f"*{reason}*" for reason in reasons)])


def describe(fault: Fault, store: str, outcome: Outcome) -> str:
    """Describe the outcome of a fault in words."""
    costs = [
        f"**{count} {what}**"
        for count, what in (
            (outcome.announced, "lost and told of"),
            (outcome.late, "lost and told of late"),
            (outcome.lost - outcome.announced - outcome.late, "lost in silence"),
            (outcome.doubled, "doubled"),
            (outcome.reordered, "reordered"),
            (outcome.published, "refused but received"),
        )
        if count
    ]
    answers = [
        f"{count} {what}"
        for count, what in (
            (outcome.refused, "refused"),
            (outcome.blunt, "unanswered"),
        )
        if count
    ]
    received = ", ".join(costs) or "nothing lost"
    published = f" ({', '.join(answers)})" if answers else ""
    return (
        f"{received}; {outcome.accepted} accepted{published};"
        f" goes on after {max(outcome.resumed, 0):.1f} s"
    )


TABLE = Table(
    name="fault table",
    results=Path(__file__).with_name("results.json"),
    outcome=Outcome,
    faults=FAULTS,
    stores=ALL,
    widths="31 23 23 23",
    title=describe_title,
    describe=describe,
)
