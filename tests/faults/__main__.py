"""Test each fault with each store, and write the table of the results.

``python -m tests.faults [--only NAME …] [--stores STORE …]``
"""

from __future__ import annotations

import argparse
import sys

from .faults import ALL, FAULTS
from .runs import run
from .table import describe, read_results, write_results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--stores", nargs="+", choices=ALL, default=ALL)
    options = parser.parse_args()
    broken = 0
    for fault in FAULTS:
        if fault.name not in options.only:
            continue
        for store in fault.stores:
            if store not in options.stores:
                continue
            outcome = run(fault, store)
            complaints = fault.complain(outcome, store)
            if outcome.resumed > fault.budget:
                complaints.append(f"goes on only after {outcome.resumed:.1f} s")
            broken += bool(complaints)
            print(f"{fault.name:20} {store:14} {describe(outcome)}", *complaints)
            sys.stdout.flush()
            results = read_results()
            results.setdefault(fault.name, {})[store] = outcome
            write_results(results)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
