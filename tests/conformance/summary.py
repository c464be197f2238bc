"""The results of the conformance tests, as a table for the documentation."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

#: The results by server, by level (``must``, ``should``, ``more``), and by
#: requirement, which may have several.
results: defaultdict[str, dict[str, defaultdict[str, set[str]]]] = defaultdict(
    lambda: {level: defaultdict(set) for level in ("must", "should", "more")}
)

#: The number of tests of a server that asserted a known difference.
differences: defaultdict[str, int] = defaultdict(int)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    server, level, requirement, result = getattr(report, "conformance", (None,) * 4)
    if server is not None:
        results[server][level][requirement].add(result)
        differences[server] += result == "differs"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how much of the protocol each server meets, as a table for the docs."""
    if not results:
        return
    rows = [("server", "MUST", "SHOULD", "what is added here")]
    for server, levels in results.items():
        rows.append(
            (server, *(_share(requirements) for requirements in levels.values()))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    terminalreporter.section("conformance to Rev. 2.23")
    for row in (None, rows[0], None, *rows[1:], None):
        cells = () if row is None else zip(row, widths, strict=True)
        line = "  ".join(cell.ljust(width) for cell, width in cells).rstrip()
        terminalreporter.write_line(line or rule)
    for server, count in differences.items():
        if count:
            terminalreporter.write_line(
                f"{server}: {count} expected differences, each asserted as it is"
                " written in tests/conformance/differences.py"
            )


def _share(requirements: dict[str, set[str]]) -> str:
    """Return the share of the tested requirements that are met."""
    tried = [each for each in requirements.values() if each != {"not tried"}]
    met = sum(each <= {"passed", "not tried"} for each in tried)
    left = len(requirements) - len(tried)
    return f"{met}/{len(tried)}" + (f", {left} not tried" if left else "")
