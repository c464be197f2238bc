"""Write the tables of the faults into docs/explanation/reliability.rst."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap

from tests.servers import ROOT

PAGE = ROOT / "docs" / "explanation" / "reliability.rst"


def write_table(page: Path, begin: str, table: str, end: str) -> None:
    """Replace what is between two lines of a page.

    Args:
        page: The page.
        begin: The line before the table.
        table: The table, in reStructuredText.
        end: The line after it.
    """
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}")


def build_row(*cells: str) -> Iterator[str]:
    """Return the lines of a row of a list-table."""
    for number, cell in enumerate(cells):
        first, *more = wrap(cell, 76, break_on_hyphens=False) or [""]
        yield f"   {' ' if number else '*'} - {first}"
        yield from (f"       {line}" for line in more)
