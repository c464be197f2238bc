"""The benchmarks run, and their results are written into the documentation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from benchmarks.chart import SCENARIOS as ROWS
from benchmarks.chart import SERVERS as DRAWN
from benchmarks.chart import build_chart
from benchmarks.documentation import TABLES, fill_in
from benchmarks.load import Load, LoadFailed, Slice
from benchmarks.measure import Result, measure
from benchmarks.presence import measure as measure_presence
from benchmarks.processes import ServerFailed
from benchmarks.report import build_table, read_json, write_json
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.base import Alone, Effort, Reading, SideBySide, Start
from benchmarks.servers import (
    BARE,
    BARE_SOCKETS,
    BARE_STREAMS,
    CONTENDERS,
    OURS,
    Contender,
    uvicorn,
)
from benchmarks.slices import take_slices
from tests.servers import ROOT

#: The bare application for each mode of the load.
APPLICATIONS = {
    "publish": BARE,
    "fanout": BARE,
    "sse": BARE_STREAMS,
    "ws": BARE_SOCKETS,
}

MACHINE = {"processor": "A processor", "cores": 2, "Python": "3.11"}


def make_results() -> list[Result]:
    """Return a result for everything that the benchmarks measure."""
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


@pytest.fixture
def generator() -> None:
    """Skip the test where the load generator cannot run."""
    if not shutil.which("cc"):
        if "CI" in os.environ:
            pytest.fail("The benchmarks need a C compiler.")
        pytest.skip("The benchmarks need a C compiler: apt install gcc libc6-dev")
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("The benchmarks need Linux.")


def make_slice(rate: int) -> Slice:
    return Slice(rate, 1.0, client=0.25, server=1.0, disconnects=0)


class FakeServer:
    """A server that only records whether it is awake."""

    works = False

    @contextmanager
    def awake(self) -> Iterator[None]:
        self.works = True
        yield
        self.works = False

    def rest(self) -> None:
        self.works = False


class FakeLoad:
    """A load with given rates for its slices, as a context manager; rate 0 fails."""

    def __init__(self, server: FakeServer, *rates: int) -> None:
        self.server = server
        self.rates = iter(rates)
        self.warm = False

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def warm_up(self) -> None:
        assert self.server.works
        self.warm = True

    def take_slice(self, seconds: float) -> Slice:
        assert self.server.works
        assert self.warm
        self.warm = False
        rate = next(self.rates)
        if not rate:
            raise LoadFailed("It does nothing.")
        return make_slice(rate)


def start_nothing(env: dict[str, str]) -> Any:
    return nullcontext(FakeServer())


@contextmanager
def contenders(*names: str) -> Iterator[list[Contender]]:
    """Replace the contenders by fakes that start nothing; the first is the floor."""
    fakes = [Contender(name, name, names[0], start_nothing) for name in names]
    with patch.dict(CONTENDERS, {fake.name: fake for fake in fakes}):
        yield fakes


@pytest.mark.process
@pytest.mark.usefixtures("generator")
def test_quick_run() -> None:
    """A quick run prints the ratio of our server to the bare application."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "publish"]
    command += ["--servers", "daphne-bare", "daphne"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    bare, ours = run.stdout.splitlines()[1:]
    assert "bare, Daphne" in bare
    assert "ours, Daphne" in ours
    assert "of its floor" in ours


@pytest.mark.process
@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize(
    "options",
    [
        {"mode": "publish"},
        {"mode": "publish", "channels": 3, "name": "news"},
        {"mode": "fanout", "clients": 5},
        {"mode": "fanout", "clients": 5, "channels": 5, "window": 2},
        {"mode": "sse", "clients": 5, "channels": 2},
        {"mode": "sse", "clients": 5, "channels": 6, "group": 3},
        {"mode": "ws", "clients": 5},
    ],
)
def test_load_gets_its_responses_and_leaves_no_request(options: dict[str, Any]) -> None:
    """A load gets its answers in each slice and leaves no request open."""
    application = OURS if "group" in options else APPLICATIONS[options["mode"]]
    with uvicorn(application, {}) as server, Load(server, **options) as load:
        server.rest()
        for _ in range(3):
            with server.awake():
                piece = load.take_slice(0.01)
            assert piece.operations > 0
            assert piece.disconnects == 0


@pytest.mark.process
@pytest.mark.usefixtures("generator")
def test_number_of_messages() -> None:
    """A slice can end after a given number of messages."""
    with uvicorn(BARE, {}) as server, Load(server, "publish") as load:
        assert load.take_slice(60, 20).operations == 20
        assert load.take_slice(60, 1).operations == 1


@pytest.mark.process
@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("damaged", "A message was damaged"),
        ("longer", "A message was damaged"),
        ("doubled", "message 1 after message 1: doubled"),
        ("failed", "A client was answered HTTP/1.1 500"),
        ("unpublished", "A publisher was answered HTTP/1.1 500"),
    ],
)
def test_wrong_answers_fail_a_measurement(fault: str, said: str) -> None:
    """A measurement fails if the server sends wrong answers."""
    with (
        uvicorn("tests.faulty:application", {"FAULT": fault}) as server,
        pytest.raises(LoadFailed, match=said),
        Load(server, "fanout", clients=2) as load,
    ):
        load.take_slice(1)


@pytest.mark.process
@pytest.mark.usefixtures("generator")
def test_server_is_gone() -> None:
    """A measurement fails if the server ends meanwhile."""
    with uvicorn(BARE, {}) as server, Load(server, "fanout", clients=2) as load:
        server.process.kill()
        server.process.wait()
        with pytest.raises(LoadFailed, match="connect: Connection refused"):
            load.take_slice(1)


@pytest.mark.process
@pytest.mark.usefixtures("generator")
def test_server_does_not_start() -> None:
    """The error for a server that fails to start contains its output."""
    with (
        pytest.raises(ServerFailed, match="nothing_there"),
        uvicorn("tests.nothing_there:application", {}),
    ):
        pass


def test_slices_take_turns() -> None:
    """Each load has a slice in each round, in which only its own server is awake."""
    servers = {name: FakeServer() for name in "abc"}
    order = []

    @contextmanager
    def guard(name: str) -> Iterator[None]:
        order.append(name)
        yield
        assert not any(server.works for server in servers.values())

    loads: Any = {
        name: FakeLoad(server, 9, *range(1, 11)) for name, server in servers.items()
    }
    slices = take_slices(loads, 10, guard)
    assert list(slices) == list(servers)
    for mine in slices.values():
        assert [each.rate for each in mine] == list(range(1, 11))
    rounds = ["".join(order[i : i + 3]) for i in range(0, len(order), 3)]
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) > 1


def test_side_by_side() -> None:
    """The reported ratio is the median ratio of the rounds, not a ratio of medians."""
    rates = {"uvicorn-bare": (9, 10, 100, 40), "uvicorn": (9, 8, 50, 40)}

    def connect(contender: Contender, server: Any, effort: Effort) -> Any:
        return FakeLoad(server, *rates[contender.name])

    scenario = SideBySide(
        name="publish", unit="messages/s", servers=tuple(rates), connect=connect
    )
    with contenders(*rates) as fakes:
        bare, ours = measure(scenario, fakes, Effort(turns=1, rounds=3), print)
    assert (bare.values, bare.ratios) == ([40], [1.0])
    assert (ours.values, ours.ratios) == ([40], [0.8])
    assert ours.load == 25.0
    assert ours.more == {"server_cpu_pct": 100.0, "slices": 3, "disconnects": 0}


@pytest.mark.parametrize("failing", [0, 1])
def test_failing_server_has_no_result(failing: int) -> None:
    """A server that fails in a later turn is reported and has no result."""
    names = ("uvicorn-bare", "uvicorn", "uvicorn-tuned")
    rates = {name: iter([(1, 1, 1)] * 3) for name in names}
    rates[names[failing]] = iter([(1, 1, 1), (1, 1, 0)])

    def connect(contender: Contender, server: Any, effort: Effort) -> Any:
        return FakeLoad(server, *next(rates[contender.name]))

    scenario = SideBySide(
        name="publish", unit="messages/s", servers=names, connect=connect
    )
    said: list[str] = []
    with contenders(*names) as fakes:
        results = measure(scenario, fakes, Effort(turns=3, rounds=2), said.append)
    left = [name for name in names if name != names[failing]]
    assert [result.server for result in results] == left
    assert all(len(result.values) == 3 for result in results)
    assert all(len(result.ratios) == (3 if failing else 0) for result in results)
    sentence = f"publish: {names[failing]} is left out: It does nothing.\n"
    assert said.count(sentence) == 1


def test_result_is_the_median_of_its_turns() -> None:
    """Values and details of a result are the medians of its turns."""
    values = iter([(3.0, 30.0), (1.0, 10.0), (2.0, 5.0)])

    def read(contender: Contender, start: Start, effort: Effort) -> Reading:
        value, detail = next(values)
        return Reading(value, load=detail, more={"detail": detail})

    names = ("uvicorn-bare",)
    scenario = Alone(name="idle", unit="bytes", servers=names, measure=read)
    with contenders(*names) as fakes:
        [result] = measure(scenario, fakes, Effort(turns=3), print)
    assert (result.value, result.more) == (2.0, {"detail": 5.0})
    assert (result.ratio, result.load) == (1.0, 30.0)


def test_only_current_results_are_replaced(tmp_path: Path) -> None:
    """Only results of the current run are replaced; a failed one is removed."""
    path = tmp_path / "results.json"
    results = [result for result in make_results() if result.scenario == "publish"]
    first, second, *others = results
    write_json(path, results, set())
    now = {("publish", first.server), ("publish", second.server)}
    write_json(path, [second], now)
    assert read_json(path)[1] == [second, *others]


def test_floor_of_a_ratio() -> None:
    """If a server is measured beside others, one of them is the ratio's floor."""
    for scenario in sum(SCENARIOS.values(), ()):
        floors = {name: CONTENDERS[name].floor for name in scenario.servers}
        floors |= scenario.floors
        for name in scenario.servers:
            alone = scenario.name.startswith(("grow", "churn"))
            divided = name in floors.values() or floors[name] in scenario.servers
            assert alone or divided, scenario.name


def test_slow_clients_send_more_requests() -> None:
    """A client that waits longer than a poll sends more requests than messages."""
    page = fill_in(
        (ROOT / "docs/explanation/performance.rst").read_text(), MACHINE, make_results()
    )
    sizing = page.partition(".. results: sizing")[2]
    lines = sizing.splitlines()
    row = next(line for line in lines if line.startswith("ours, uvicorn  "))
    # Half of 2,000 requests a second: per minute one for the message and one more.
    assert row.split()[-4:-2] == ["10,000", "30,000"]


def test_table() -> None:
    """The table shows each server's ratio and how busy the load generator was."""
    results = [result for result in make_results() if result.scenario == "publish"]
    lines = build_table(results).splitlines()
    assert lines[0] == "publish (messages/s)"
    assert len(lines) == len(results) + 1
    assert "0.50 of its floor (0.50 to 0.50)" in lines[1]
    assert lines[1].endswith("load busy 12 %")


def test_chart() -> None:
    """The chart is an SVG with one dot per server and row, and one in the legend."""
    tree = ElementTree.fromstring(build_chart(make_results()))
    dots = [each for each in tree.iter() if each.tag.endswith("}circle")]
    measured = {
        (result.scenario, result.server)
        for result in make_results()
        if result.scenario in ROWS and result.server in DRAWN
    }
    assert len(dots) == len(measured) + len(DRAWN)


def test_page() -> None:
    """The documentation has a place for each table, and only these places change."""
    page = (ROOT / "docs" / "explanation" / "performance.rst").read_text()
    filled = fill_in(page, MACHINE, make_results())
    for name in TABLES:
        begin, end = f".. results: {name}\n", f".. end of results: {name}\n"
        assert page.count(begin) == page.count(end) == 1
        assert filled.partition(begin)[2].partition(end)[0].strip()
        page, filled = (
            text.partition(begin)[0] + text.partition(end)[2] for text in (page, filled)
        )
    assert filled == page


@pytest.mark.process
@pytest.mark.left_to_all("benchmarks")
def test_the_costs_of_presence_are_measured() -> None:
    costs = measure_presence(20, 2, idle=0.1)
    assert [each.split()[1] for each in costs] == ["ms", "ms", "of", "of", "KB", "KB"]
