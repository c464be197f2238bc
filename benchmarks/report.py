"""The results on the terminal, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .measure import Result
from .scenarios import SCENARIOS

PACKAGES = ("Django", "channels", "daphne", "Twisted", "uvicorn", "uvloop", "httptools")


def describe_machine() -> dict[str, Any]:
    """Return the processor, the system and the versions of packages."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "Linux": platform.release(),
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def build_table(results: Iterable[Result]) -> str:
    """Return the results as lines of text, a block for each scenario."""
    lines = []
    scenario = None
    for result in results:
        if result.scenario != scenario:
            scenario = result.scenario
            lines += ["", f"{scenario} ({result.unit})"]
        ratio = ""
        if result.ratio is not None:
            low, high = min(result.ratios), max(result.ratios)
            ratio = f"{result.ratio:6.2f} of its floor ({low:.2f} to {high:.2f})"
        load = "" if result.load is None else f"load busy {result.load:.0f} %"
        value = show(result.value)
        lines.append(f"  {result.title:<48} {value:>9} {ratio:<36} {load}".rstrip())
    return "\n".join(lines).strip()


def show(value: float) -> str:
    """Return a number with a suitable number of digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def read_json(path: Path) -> tuple[dict[str, Any], list[Result]]:
    """Return the machine and the results that were written to a file."""
    document = json.loads(path.read_text())
    return document["machine"], [Result(**each) for each in document["results"]]


def write_json(path: Path, results: list[Result], tried: set[tuple[str, str]]) -> None:
    """Write the machine and the results.

    Earlier results in the file are kept, except those of servers measured now.

    Args:
        path: The JSON file.
        results: The new results.
        tried: The scenarios and servers measured now, including those that failed.
    """
    before = read_json(path)[1] if path.exists() else []
    found = {(each.scenario, each.server): each for each in before}
    found = {key: each for key, each in found.items() if key not in tried}
    found |= {(each.scenario, each.server): each for each in results}
    ordered = [
        found[scenario.name, server]
        for scenarios in SCENARIOS.values()
        for scenario in scenarios
        for server in scenario.servers
        if (scenario.name, server) in found
    ]
    document = {
        "machine": describe_machine(),
        "results": [asdict(each) for each in ordered],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
