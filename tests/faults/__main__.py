"""Test each fault with each store, and write the tables of the results.

``python -m tests.faults [--only NAME …] [--stores STORE …]``
"""

from __future__ import annotations

import argparse
import sys

from .faults import ALL, FAULTS, Fault
from .presence.faults import PRESENCE_FAULTS, PresenceFault
from .presence.runs import run as run_with_presence
from .presence.table import PRESENCE_TABLE
from .runs import run
from .table import TABLE


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    names = [fault.name for fault in (*FAULTS, *PRESENCE_FAULTS)]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--stores", nargs="+", choices=ALL, default=ALL)
    options = parser.parse_args()
    broken = 0
    for fault in (*FAULTS, *PRESENCE_FAULTS):
        if fault.name not in options.only:
            continue
        for store in fault.stores:
            if store in options.stores:
                broken += measure(fault, store)
    return min(broken, 1)


def measure(fault: Fault | PresenceFault, store: str) -> bool:
    """Measure a fault, and write its outcome; return whether a guarantee is broken."""
    if isinstance(fault, PresenceFault):
        seen = run_with_presence(fault, store)
        complaints = fault.complain(seen, store)
        told = PRESENCE_TABLE.describe(fault, store, seen)
        PRESENCE_TABLE.record(fault, store, seen)
    else:
        outcome = run(fault, store)
        complaints = fault.complain(outcome, store)
        if outcome.resumed > fault.budget:
            complaints.append(f"goes on only after {outcome.resumed:.1f} s")
        told = TABLE.describe(fault, store, outcome)
        TABLE.record(fault, store, outcome)
    print(f"{fault.name:25} {store:14} {told}", *complaints)
    sys.stdout.flush()
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
