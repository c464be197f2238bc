"""Run the examples in docstrings."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest
from django.conf import LazySettings

from tests.servers import ROOT

#: The modules whose docstrings have examples.
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("pushserver", "pushserver_channels")
    for path in Path(ROOT / package).rglob("*.py")
    if "\n    >>> " in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, settings: LazySettings) -> None:
    """The examples print what they show, with the default settings."""
    settings.PUSH_SERVER = {}
    failed, attempted = doctest.testmod(import_module(name))
    assert attempted
    assert not failed


def test_there_are_examples() -> None:
    """Examples are found."""
    assert {"pushserver.channel_urls", "pushserver.publishers.base"} <= set(MODULES)
