"""What faults cost while publishers and subscribers are active, with real processes.

``python -m tests.faults`` measures them and writes the table in the documentation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests import tiers
from tests.tiers import in_tier

from .faults import FAULTS, Fault
from .runs import run, run_in
from .table import TABLE
from .tables import PAGE
from .traffic import Outcome
from .worlds import Missing, World


@pytest.fixture(scope="module")
def shared() -> Iterator[Callable[[str], World]]:
    """Returns the processes with a store that faults share which leave them intact."""
    with ExitStack() as stack:

        @cache
        def enter(store: str) -> World:
            return stack.enter_context(World(store))

        yield enter


def measure(fault: Fault, store: str, shared: Callable[[str], World]) -> Outcome:
    """Return the outcome of a fault; skip if a program is missing, but fail in CI."""
    try:
        return run_in(shared(store), fault) if fault.may_share else run(fault, store)
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
def test_a_fault(name: str, store: str, shared: Callable[[str], World]) -> None:
    """Each accepted message is received once and in order, or a gap is reported.

    This holds for a store in Redis, and without a fault for the others too.
    """
    [fault] = [each for each in FAULTS if each.name == name]
    outcome = measure(fault, store, shared)
    assert outcome.accepted
    promises = "redis" if fault is FAULTS[0] else store
    assert fault.complain(outcome, promises) == [], outcome


def test_documented_table_is_current() -> None:
    """The table in the documentation has every fault and the latest outcomes."""
    results = TABLE.read()
    for fault in FAULTS:
        assert set(results[fault.name]) == set(fault.stores), fault.name
    assert TABLE.build() in PAGE.read_text()
