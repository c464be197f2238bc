"""The outcomes of the faults, as the table in docs/explanation/reliability.rst."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from .faults import ALL, FAULTS, Fault
from .tables import PAGE, build_row, write_table
from .traffic import Outcome

BEGIN = ".. begin of the fault table, written by python -m tests.faults\n"
END = ".. end of the fault table\n"

#: The latest outcomes, so that one row can be measured again.
RESULTS = Path(__file__).with_name("results.json")

TITLES = {
    "redis": "Redis",
    "channel_layer": "Channel layer (in Redis)",
    "memory": "Memory (one process)",
}

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
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 31 23 23 23", ""]
    lines += build_row("Fault", *(TITLES[store] for store in ALL))
    for fault in FAULTS:
        if fault.name in results:
            lines += build_row(_title(fault), *_cells(fault, results[fault.name]))
    return "\n".join(lines) + "\n"


def _title(fault: Fault) -> str:
    reasons = filter(None, [fault.may_lose, fault.may_leave_open])
    return " ".join([f"{fault.title}.", *(f"*{reason}*" for reason in reasons)])


def _cells(fault: Fault, outcomes: Mapping[str, Outcome]) -> Iterator[str]:
    for store in ALL:
        if store in outcomes:
            yield describe(outcomes[store])
        else:
            yield "not measured" if store in fault.stores else "\\-"


def describe(outcome: Outcome) -> str:
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
