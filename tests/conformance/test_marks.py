"""The marks of the conformance tests are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from . import test_must, test_should

LEVELS: list[tuple[ModuleType, str, int]] = [
    (test_must, "must", 30),
    (test_should, "should", 8),
]


def _tests(module: ModuleType, level: str) -> Iterator[tuple[int, str]]:
    """Return the requirements that a module tests, with the docstrings of the tests."""
    for test in vars(module).values():
        for mark in getattr(test, "pytestmark", ()):
            if mark.name == level:
                yield mark.args[0], test.__doc__


@pytest.mark.parametrize(("module", "level", "count"), LEVELS)
def test_each_requirement_has_one_test(
    module: ModuleType, level: str, count: int
) -> None:
    """The requirements of each level are numbered, and each has one test."""
    numbers = [number for number, _ in _tests(module, level)]
    assert numbers == list(range(1, count + 1))


@pytest.mark.parametrize(("module", "level", "count"), LEVELS)
def test_each_requirement_has_its_section(
    module: ModuleType, level: str, count: int
) -> None:
    """The docstring of a test names the section of its requirement."""
    for number, says in _tests(module, level):
        assert re.search(r" \((2\.1|3\.1|3\.2)\)\.", says), number
