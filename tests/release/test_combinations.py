"""The versions with which ``make matrix`` tests."""

from __future__ import annotations

import sys

import pytest

from release import combinations
from release.combinations import Combination, combine, find_djangos, find_pythons


def test_every_python_and_django_of_the_classifiers_is_tested() -> None:
    """Each version that the package promises is tested, with old and new ones."""
    found = combine()
    assert {each.python for each in found} == {*find_pythons()}
    assert {each.django for each in found} == {*find_djangos()}
    for each in found:
        other = {"oldest": "newest", "newest": "oldest"}[each.dependencies]
        assert Combination(each.python, each.django, other) in found


def test_django_6_needs_python_3_12() -> None:
    """Django 6.0 and 6.1 are not tested with a Python on which they do not run."""
    for each in combine():
        assert each.django == "5.2" or each.python not in ("3.10", "3.11")


def test_oldest_versions_are_the_lower_bounds() -> None:
    """The oldest versions of the dependencies are what setup.cfg requires at least."""
    oldest = Combination("3.12", "6.0", "oldest").requirements()
    assert oldest[0] == "Django==6.0"
    assert "daphne==4.2.2" in oldest
    assert any(each.startswith("channels==") for each in oldest)
    assert any(each.startswith("redis[hiredis]==") for each in oldest)
    newest = Combination("3.12", "6.0", "newest").requirements()
    assert newest == ["Django==6.0.*"]


def test_django_5_2_runs_on_python_3_14_since_5_2_8() -> None:
    """The oldest Django 5.2 on Python 3.14 is the first that runs on it."""
    oldest = Combination("3.14", "5.2", "oldest").requirements()
    assert oldest[0] == "Django==5.2.8"


def test_dependency_without_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency without a lower bound could not be tested at its oldest version."""
    setup = combinations.read_setup()
    setup["options"]["install_requires"] += "\ndaphne"
    monkeypatch.setattr(combinations, "read_setup", lambda: setup)
    with pytest.raises(
        ValueError, match="'daphne' is not a package with a lower bound"
    ):
        combinations.find_oldest()


def test_this_python_is_supported() -> None:
    """The Python that runs the tests is one of those in the classifiers."""
    assert "{}.{}".format(*sys.version_info) in find_pythons()
