"""The code blocks of a page of the documentation, and what a reader does with each.

A comment before a block says it::

    .. write project/asgi.py
    .. add to project/settings.py
    .. replace "updates.subscribe(" in templates/page.html
    .. run
    .. serve
    .. try
    .. output
    .. fragment: it needs a server of its own

``run`` is commands of a shell, ``serve`` one that serves the site until the page or the
next ``serve`` ends it, ``try`` Python in ``manage.py shell``, and ``output`` what the
block before it prints, in which ``...`` stands for anything. A ``fragment`` is not run,
for the reason that is given. A line ``.. fragments: <reason>`` makes fragments of all
blocks of its page that are not marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.servers import ROOT

VERBS = ("write", "add to", "replace", "run", "serve", "try", "output", "fragment")

_MARK = re.compile(
    r"\.\. (?P<verb>write|add to|replace|run|serve|try|output|fragment)"
    r'(?:: (?P<reason>.+)|(?: "(?P<old>.+)" in)? (?P<path>\S+))?'
)
_DIRECTIVE = re.compile(r"(?P<margin> *)\.\. code-block:: *(?P<language>\S+)")
_PAGE_MARK = re.compile(r"^\.\. fragments: (?P<reason>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A code block and what the reader has to do with it.

    Attributes:
        page: The file of the page, below the root of the project.
        line: Where the block begins, counted from 1.
        language: The language, empty for a literal block.
        code: The text.
        verb: One of :data:`VERBS`, empty if the block is not marked.
        path: The file to be written, in the folder of the site.
        old: What the line to be replaced contains.
        reason: Why a fragment is not run.
    """

    page: str
    line: int
    language: str
    code: str
    verb: str = ""
    path: str = ""
    old: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(path: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    for_all = _PAGE_MARK.search(text)
    blocks = list(_find_blocks(str(path.relative_to(ROOT)), text.splitlines()))
    if for_all is None:
        return blocks
    return [
        each
        if each.verb
        else Block(
            each.page,
            each.line,
            each.language,
            each.code,
            verb="fragment",
            reason=for_all["reason"],
        )
        for each in blocks
    ]


def _find_blocks(page: str, lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        line = lines[number]
        directive = _DIRECTIVE.fullmatch(line)
        is_literal = line.endswith("::") and not line.lstrip().startswith("..")
        if not directive and not is_literal:
            number += 1
            continue
        begin = number if directive else _find_paragraph(lines, number)
        margin = len(line) - len(line.lstrip())
        code, end = _read_code(lines, number + 1, margin)
        mark = _MARK.fullmatch(_find_line_before(lines, begin).strip())
        found = {} if mark is None else mark.groupdict(default="")
        yield Block(
            page,
            number + 1,
            "" if directive is None else directive["language"],
            code,
            **found,
        )
        number = end


def _find_paragraph(lines: list[str], number: int) -> int:
    """Return the first line of the paragraph in which a line is."""
    while number and lines[number - 1].strip():
        number -= 1
    return number


def _find_line_before(lines: list[str], number: int) -> str:
    """Return the last line before one that is not empty."""
    return next((each for each in reversed(lines[:number]) if each.strip()), "")


def _read_code(lines: list[str], begin: int, margin: int) -> tuple[str, int]:
    """Return an indented block, without the options of its directive, and its end."""
    end = begin
    while end < len(lines) and (
        not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > margin
    ):
        end += 1
    while begin < end and lines[begin].strip().startswith(":"):
        begin += 1
    return dedent("\n".join(lines[begin:end])).strip("\n") + "\n", end
