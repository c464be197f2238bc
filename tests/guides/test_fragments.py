"""What is shown to a reader is run, or is marked as a fragment of a known kind."""

from __future__ import annotations

import ast
from collections import Counter
from itertools import chain

import pytest
from django.template import engines

from pushserver.conf import read_settings

from .blocks import Block
from .sites import LEADING, list_pages, read_page

PAGES = ["README", *chain(*(list_pages(folder) for folder in LEADING))]
BLOCKS = [block for page in PAGES for block in read_page(page)]
FRAGMENTS = [block for block in BLOCKS if block.verb == "fragment"]

#: How many blocks are not run. It may become less; a new one needs a reason.
MOST_FRAGMENTS = 60

#: The least that is run: the tests would pass with pages that have no blocks.
LEAST_RUN = 100


def test_each_block_is_run_or_marked() -> None:
    """Each block of the README, the tutorial and the guides has a mark."""
    assert [str(block) for block in BLOCKS if not block.verb] == []


def test_fragments_are_few() -> None:
    """Most blocks are run, and each that is not says why."""
    counts = Counter(block.verb for block in BLOCKS)
    print(f"Blocks of the documentation: {dict(counts)}")
    assert len(FRAGMENTS) <= MOST_FRAGMENTS
    assert len(BLOCKS) - len(FRAGMENTS) >= LEAST_RUN
    assert [str(block) for block in FRAGMENTS if not block.reason] == []


def _name(block: Block) -> str:
    return str(block)


def _in(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


@pytest.mark.parametrize("block", _in("python"), ids=_name)
def test_block_is_python(block: Block) -> None:
    """A block in Python has no error of syntax, whether it is run or not.

    A fragment may be entries of a dict, such as settings.
    """
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    try:
        compile(block.code, str(block), "exec", flags)
    except SyntaxError:
        assert block.verb == "fragment"
        compile(f"{{{block.code}}}", str(block), "exec", flags)


@pytest.mark.parametrize("block", _in("html+django"), ids=_name)
def test_block_is_a_template(block: Block) -> None:
    """A block of a template has tags that there are."""
    engines["django"].from_string("{% load static pushserver %}" + block.code)


def _find_settings(block: Block) -> list[object]:
    """Return the values of ``PUSH_SERVER`` in a block that need no other name."""
    try:
        tree = ast.parse(block.code)
    except SyntaxError:
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == "PUSH_SERVER"
            for each in node.targets
        ):
            try:
                found.append(ast.literal_eval(node.value))
            except ValueError:
                continue  # It is made of others.
    return found


SETTINGS = [
    pytest.param(value, id=f"{block}")
    for block in BLOCKS
    for value in _find_settings(block)
]


@pytest.mark.parametrize("value", SETTINGS)
def test_settings_are_valid(value: object) -> None:
    """Each ``PUSH_SERVER`` that is written out is accepted."""
    read_settings(value)
