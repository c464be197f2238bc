"""What a fault costs, while publishers and subscribers go on, with real processes.

The faults that take longer are left to ``python -m tests.faults``.
"""

from __future__ import annotations

import os

import pytest

from .faults import FAULTS, Fault
from .runs import run
from .table import BEGIN, END, PAGE, build_table, read_results
from .traffic import Outcome
from .worlds import Missing


def measure(fault: Fault, store: str) -> Outcome:
    """Return what a fault costs; skip the test if a part is missing, but not in CI."""
    try:
        return run(fault, store)
    except Missing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name) for fault in FAULTS if fault.is_short],
)
def test_a_store_in_redis(fault: Fault) -> None:
    """Over a fault, each accepted message is received once and in order, or told of."""
    outcome = measure(fault, "redis")
    assert outcome.accepted
    assert fault.complain(outcome, "redis") == [], outcome


@pytest.mark.parametrize("store", ["memory", "channel_layer"])
def test_other_stores(store: str) -> None:
    """Without a fault, the other stores lose nothing either."""
    outcome = measure(FAULTS[0], store)
    assert outcome.accepted
    assert FAULTS[0].complain(outcome, "redis") == [], outcome


def test_the_table() -> None:
    """The table in the documentation tells of every fault, and what was measured."""
    results = read_results()
    for fault in FAULTS:
        assert set(results[fault.name]) == set(fault.stores), fault.name
    assert f"{BEGIN}\n{build_table(results)}\n{END}" in PAGE.read_text()
