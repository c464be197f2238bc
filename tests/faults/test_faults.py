"""What a fault costs, while publishers and subscribers go on, with real processes.

``python -m tests.faults`` measures them, and writes the table in the documentation.
"""

from __future__ import annotations

import os

import pytest

from tests import tiers
from tests.tiers import in_tier

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
    ("name", "store"),
    [
        in_tier((fault.name, store), tiers.FAULTS, "of other faults")
        for fault in FAULTS
        for store in fault.stores
    ],
)
def test_a_fault(name: str, store: str) -> None:
    """Each accepted message is received once and in order, or told of.

    So it is with a store in Redis, and without a fault with the others too.
    """
    [fault] = [each for each in FAULTS if each.name == name]
    outcome = measure(fault, store)
    assert outcome.accepted
    promises = "redis" if fault is FAULTS[0] else store
    assert fault.complain(outcome, promises) == [], outcome


def test_the_table() -> None:
    """The table in the documentation tells of every fault, and what was measured."""
    results = read_results()
    for fault in FAULTS:
        assert set(results[fault.name]) == set(fault.stores), fault.name
    assert f"{BEGIN}\n{build_table(results)}\n{END}" in PAGE.read_text()
