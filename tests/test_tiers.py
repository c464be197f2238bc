"""The tiers of tests are those that CONTRIBUTING.rst describes."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from . import tiers
from .conformance import servers
from .faults.faults import FAULTS
from .faults.presence.faults import PRESENCE_FAULTS
from .scheduling import group
from .servers import ROOT

FAULT = "faults/test_faults.py::test_a_fault"


def test_the_default_tier_is_a_part_of_all() -> None:
    """The default tier is a part of all tests, and includes each store."""
    assert set(servers.ROWS) > tiers.ROWS
    measured = (*FAULTS, *PRESENCE_FAULTS)
    faults = {(fault.name, store) for fault in measured for store in fault.stores}
    assert faults > tiers.FAULTS
    assert {store for _, store in tiers.FAULTS} == {store for _, store in faults}


@pytest.mark.parametrize(
    ("no_browser", "kept"),
    [(False, ["browser", "live"]), (True, ["live"])],
)
def test_no_browser_leaves_out_their_folder(
    no_browser: bool, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --no-browser, only the tests in the folder browser are left out."""
    monkeypatch.setattr(tiers, "_left", Counter())
    config: Any = SimpleNamespace(
        rootpath=ROOT,
        getoption={"tier": "all", "no_browser": no_browser}.__getitem__,
        hook=SimpleNamespace(pytest_deselected=lambda items: None),
    )
    items: list[Any] = [
        SimpleNamespace(
            path=ROOT / "tests" / folder / "test_a.py",
            config=config,
            get_closest_marker=lambda name: None,
        )
        for folder in ("browser", "live")
    ]
    tiers.pytest_collection_modifyitems(config, items)
    assert [tiers.find_folder(item) for item in items] == kept


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("conformance/a.py::a[granian]", "conformance/b.py::b[x-granian]", True),
        ("conformance/a.py::a[granian]", "conformance/a.py::a[Daphne]", False),
        ("conformance/a.py::a[Daphne]", "conformance/a.py::a[Daphne, layer]", False),
        ("live/a.py::a[granian-1]", "live/a.py::b[granian-2]", True),
        ("live/a.py::a[granian-1]", "live/a.py::a[uvicorn, h11-1]", False),
        ("live/a.py::a[granian-1]", "live/b.py::b[granian-2]", True),
        ("live/a.py::a", "live/b.py::a", False),
        ("browser/a.py::a", "browser/b.py::b", True),
        ("browser/test_board.py::a", "browser/test_nginx.py::b", True),
        ("browser/test_board.py::a", "browser/b.py::b", False),
        (f"{FAULT}[nothing-redis]", f"{FAULT}[kill-server-redis]", True),
        (f"{FAULT}[nothing-redis]", f"{FAULT}[nothing-memory]", False),
        (f"{FAULT}[nothing-redis]", f"{FAULT}[cut-redis]", False),
        ("a.py::a[1]", "a.py::b", True),
    ],
)
def test_the_tests_of_a_server_are_in_one_worker(
    one: str, other: str, together: bool
) -> None:
    """Tests of one server run in the same worker, so that it starts once."""
    assert (group(f"tests/{one}") == group(f"tests/{other}")) is together
