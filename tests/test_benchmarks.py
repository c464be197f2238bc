"""The benchmarks run, and what they measured gets into the documentation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from benchmarks.chart import SCENARIOS as ROWS
from benchmarks.chart import SERVERS as DRAWN
from benchmarks.chart import build_chart
from benchmarks.documentation import TABLES, fill_in
from benchmarks.measure import Result, measure
from benchmarks.processes import Server
from benchmarks.report import build_table
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.base import Effort, Reading, Scenario
from benchmarks.servers import CONTENDERS, Contender
from tests.servers import ROOT

MACHINE = {"processor": "A processor", "cores": 2, "Python": "3.11"}


def make_results() -> list[Result]:
    """Return a result for all that is measured."""
    more = {
        "left": 512.0,
        "left_again": 1024.0,
        "bytes_each": 2048.0,
        "rates": {"10": 2.0, "1,000": 2.0, "100,000": 1.0},
        "clients": 3,
        "first_mb": 50.0,
        "last_mb": 51.0,
    }
    return [
        Result(scenario.name, scenario.unit, server, [2000.0], [0.5], 12.0, more)
        for scenarios in SCENARIOS.values()
        for scenario in scenarios
        for server in scenario.servers
    ]


def test_quick_run() -> None:
    """A quick run of a scenario prints the ratio of ours to the bare application."""
    if not shutil.which("cc"):
        if "CI" in os.environ:
            pytest.fail("The benchmarks need a C compiler.")
        pytest.skip("The benchmarks need a C compiler: apt install gcc libc6-dev")
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("The benchmarks need Linux.")
    command = [sys.executable, "-m", "benchmarks", "--quick", "publish"]
    command += ["--servers", "daphne-bare", "daphne"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    bare, ours = run.stdout.splitlines()[1:]
    assert "bare, Daphne" in bare
    assert "ours, Daphne" in ours
    assert "of its floor" in ours


def test_turns() -> None:
    """A result is the median of its turns, and so are the details beside it."""
    values = iter([(3.0, 30.0), (1.0, 10.0), (2.0, 5.0)])

    def read(contender: Contender, server: Server, effort: Effort) -> Reading:
        value, detail = next(values)
        return Reading(value, load=detail, more={"detail": detail})

    @contextmanager
    def start(env: dict[str, str]) -> Iterator[Any]:
        yield None

    contender = Contender("uvicorn-bare", "bare", "uvicorn-bare", start)
    scenario = Scenario("idle", "bytes", read, (contender.name,))
    with patch.dict(CONTENDERS, {contender.name: contender}):
        [result] = measure([scenario], None, Effort(turns=3), lambda text: None)
    assert (result.value, result.more) == (2.0, {"detail": 5.0})
    assert (result.ratio, result.load) == (1.0, 30.0)


def test_floors() -> None:
    """Where a server is measured beside others, one is divided by the other."""
    for scenario in sum(SCENARIOS.values(), ()):
        floors = {CONTENDERS[name].floor for name in scenario.servers}
        for name in scenario.servers:
            alone = scenario.name.startswith(("grow", "churn"))
            divided = name in floors or CONTENDERS[name].floor in scenario.servers
            assert alone or divided, scenario.name


def test_sizing() -> None:
    """A client that waits longer than a poll lasts costs more than its messages."""
    page = fill_in((ROOT / "docs/performance.rst").read_text(), MACHINE, make_results())
    sizing = page.partition(".. results: sizing")[2]
    lines = sizing.splitlines()
    row = next(line for line in lines if line.startswith("ours, uvicorn  "))
    # Half of 2,000 requests a second: one for each message, in a minute one more.
    assert row.split()[-4:-2] == ["10,000", "30,000"]


def test_table() -> None:
    """The table tells each server's ratio, and how busy the load was."""
    results = [result for result in make_results() if result.scenario == "publish"]
    lines = build_table(results).splitlines()
    assert lines[0] == "publish (messages/s)"
    assert len(lines) == len(results) + 1
    assert "0.50 of its floor (0.50 to 0.50)" in lines[1]
    assert lines[1].endswith("load busy 12 %")


def test_chart() -> None:
    """The chart is an SVG with a dot for each server in each row, one in the key."""
    tree = ElementTree.fromstring(build_chart(make_results()))
    dots = [each for each in tree.iter() if each.tag.endswith("}circle")]
    measured = {
        (result.scenario, result.server)
        for result in make_results()
        if result.scenario in ROWS and result.server in DRAWN
    }
    assert len(dots) == len(measured) + len(DRAWN)


def test_page() -> None:
    """The documentation has a place for each table, and only what is there changes."""
    page = (ROOT / "docs" / "performance.rst").read_text()
    filled = fill_in(page, MACHINE, make_results())
    for name in TABLES:
        begin, end = f".. results: {name}\n", f".. end of results: {name}\n"
        assert page.count(begin) == page.count(end) == 1
        assert filled.partition(begin)[2].partition(end)[0].strip()
        page, filled = (
            text.partition(begin)[0] + text.partition(end)[2] for text in (page, filled)
        )
    assert filled == page
