"""What faults cost those who are on a channel, with real processes.

``python -m tests.faults`` measures them and writes the table in the documentation.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests import tiers
from tests.faults.tables import PAGE
from tests.faults.worlds import Missing
from tests.tiers import in_tier

from .faults import PRESENCE_FAULTS
from .runs import run
from .table import PRESENCE_TABLE


@pytest.mark.parametrize(
    ("name", "store"),
    [
        in_tier((fault.name, store), tiers.FAULTS, "of other faults")
        for fault in PRESENCE_FAULTS
        for store in fault.stores
    ],
)
def test_a_fault(name: str, store: str, pytestconfig: pytest.Config) -> None:
    """Nobody stays who has left, nobody is forgotten, and each is told once."""
    [fault] = [each for each in PRESENCE_FAULTS if each.name == name]
    world = {}
    if pytestconfig.getoption("tier") != "all":
        fault = replace(fault, members=20)
        # Who polls might not be back within so short a grace.
        world = {"grace": 2.0, "poll_timeout": 60.0}
    try:
        outcome = run(fault, store, **world)
    except Missing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    assert fault.complain(outcome, store) == [], outcome


def test_documented_table_is_current() -> None:
    """The table in the documentation has every fault and the latest outcomes."""
    results = PRESENCE_TABLE.read()
    for fault in PRESENCE_FAULTS:
        assert set(results[fault.name]) == set(fault.stores), fault.name
    assert PRESENCE_TABLE.build() in PAGE.read_text()
