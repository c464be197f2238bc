"""The outcomes of the faults for those who are on a channel, as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from tests.faults.tables import PAGE, build_row, write_table

from .faults import ALL, PRESENCE_FAULTS, PresenceFault
from .outcomes import Outcome

BEGIN = ".. begin of the presence fault table, written by python -m tests.faults\n"
END = ".. end of the presence fault table\n"

#: The latest outcomes, so that one row can be measured again.
RESULTS = Path(__file__).with_name("results.json")

TITLES = {"redis": "Redis", "memory": "Memory (one process)"}

Results = dict[str, dict[str, Outcome]]


def read_results() -> Results:
    """Return the latest outcomes by fault and store."""
    if not RESULTS.exists():
        return {}
    return {
        fault: {store: Outcome(**outcome) for store, outcome in stores.items()}
        for fault, stores in json.loads(RESULTS.read_text()).items()
    }


def write_results(results: Results) -> None:
    """Store the outcomes and write the table."""
    content = {
        fault: {store: asdict(outcome) for store, outcome in stores.items()}
        for fault, stores in results.items()
    }
    RESULTS.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    write_table(PAGE, BEGIN, build_table(results), END)


def build_table(results: Results) -> str:
    """Return the table in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 34 33 33", ""]
    lines += build_row("Fault", *(TITLES[store] for store in ALL))
    for fault in PRESENCE_FAULTS:
        if fault.name in results:
            lines += build_row(f"{fault.title}.", *_cells(fault, results[fault.name]))
    return "\n".join(lines) + "\n"


def _cells(fault: PresenceFault, outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    for store in ALL:
        if store in outcomes:
            reason = fault.may_flicker.get(store, "")
            yield describe(outcomes[store], reason)
        else:
            yield "not measured" if store in fault.stores else "\\-"


def describe(outcome: Outcome, why_flickered: str = "") -> str:
    """Describe the outcome of a fault in words.

    Args:
        outcome: The outcome.
        why_flickered: Why members who stayed may have been told to leave.
    """
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
    reason = f" (*{why_flickered}*)" if outcome.flickered and why_flickered else ""
    right = (", ".join(costs) or "nobody wrong") + reason
    signals = f"{outcome.signals} signals"
    if outcome.missed:
        signals += f" ({outcome.missed} missed, {outcome.counted} of them counted)"
    messages = f"{outcome.told} messages" if outcome.told != 1 else "1 message"
    return (
        f"{right}; {messages}, {outcome.busiest} in a second at most; {signals};"
        f" right after {max(outcome.settled, 0):.1f} s"
    )
