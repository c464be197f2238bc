"""``python -m benchmarks [scenario…] [--quick] [--servers …]``"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
from pathlib import Path

from .chart import build_chart
from .documentation import fill_in
from .load import compile_generator
from .measure import measure
from .processes import ROOT
from .report import build_table, read_json, write_json
from .scenarios import SCENARIOS
from .scenarios.base import QUICK, Effort
from .servers import CONTENDERS

RESULTS = Path(__file__).with_name("results.json")
CHART = ROOT / "docs" / "images" / "performance.svg"
PAGE = ROOT / "docs" / "explanation" / "performance.rst"


def main() -> None:
    options = parse_options()
    # On SIGTERM, exit normally, so that the servers are stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.draw:
        draw()
        return
    compile_generator()
    effort = QUICK if options.quick else Effort()
    chosen = {"turns": options.turns, "minutes": options.minutes}
    effort = dataclasses.replace(effort, **{k: v for k, v in chosen.items() if v})
    names = options.scenarios or list(SCENARIOS)
    scenarios = [scenario for name in names for scenario in SCENARIOS[name]]
    chosen_servers = set(options.servers or CONTENDERS)
    if not (options.quick or options.scenarios or options.servers):
        RESULTS.unlink(missing_ok=True)  # All results will be measured again.
    results = []
    for scenario in scenarios:
        servers = [name for name in scenario.servers if name in chosen_servers]
        contenders = [CONTENDERS[name] for name in servers]
        found = measure(scenario, contenders, effort, say)
        results += found
        if not options.quick:
            # Written after each scenario, so that an interrupted run loses less.
            write_json(RESULTS, found, {(scenario.name, name) for name in servers})
    say("")
    print(build_table(results))
    if not options.quick:
        draw()


def draw() -> None:
    """Write the chart and the tables of the documentation from the results."""
    machine, results = read_json(RESULTS)
    CHART.write_text(build_chart(results))
    PAGE.write_text(fill_in(PAGE.read_text(), machine, results))
    print("\nWritten:", *(path.relative_to(ROOT) for path in (RESULTS, CHART, PAGE)))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS)
    )
    parser.add_argument(
        "--servers", nargs="+", choices=CONTENDERS, help="only these", metavar="server"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short turn, nothing written"
    )
    parser.add_argument("--turns", type=int, help=f"of each server ({Effort.turns})")
    parser.add_argument("--minutes", type=float, help=f"of churn ({Effort.minutes})")
    parser.add_argument(
        "--draw", action="store_true", help="measure nothing, write chart and tables"
    )
    options = parser.parse_args()
    for name in options.scenarios:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario {name!r}: {', '.join(SCENARIOS)}")
    return options


def say(text: str) -> None:
    """Show the progress on the last line of the terminal."""
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
