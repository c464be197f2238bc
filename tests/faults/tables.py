"""Tables of what faults do, in docs/explanation/reliability.rst."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any, Generic, Protocol, TypeVar

from tests.servers import ROOT

PAGE = ROOT / "docs" / "explanation" / "reliability.rst"

TITLES = {
    "redis": "Redis",
    "channel_layer": "Channel layer (in Redis)",
    "memory": "Memory (one process)",
}


class Fault(Protocol):
    """What a row is about."""

    @property
    def name(self) -> str: ...

    @property
    def stores(self) -> Sequence[str]: ...


Tested = TypeVar("Tested", bound=Fault)
Outcome = TypeVar("Outcome", bound=Any)


@dataclass(frozen=True)
class Table(Generic[Tested, Outcome]):
    """A table of the outcomes of faults, a row each, with a column for each store.

    Attributes:
        name: What the comments around it call it.
        results: The file with the latest outcomes, so that one row can be measured
            again.
        outcome: The dataclass of an outcome.
        faults: The faults, in the order of their rows.
        stores: The stores, in the order of their columns.
        widths: The widths of the columns, in percent.
        title: Returns the title of a fault.
        describe: Returns the outcome of a fault with a store in words.
    """

    name: str
    results: Path
    outcome: type[Outcome]
    faults: Sequence[Tested]
    stores: Sequence[str]
    widths: str
    title: Callable[[Tested], str]
    describe: Callable[[Tested, str, Outcome], str]

    def read(self) -> dict[str, dict[str, Outcome]]:
        """Return the latest outcomes by fault and store."""
        if not self.results.exists():
            return {}
        return {
            fault: {store: self.outcome(**each) for store, each in stores.items()}
            for fault, stores in json.loads(self.results.read_text()).items()
        }

    def record(self, fault: Tested, store: str, outcome: Outcome) -> None:
        """Keep an outcome, and write the table."""
        outcomes = self.read()
        outcomes.setdefault(fault.name, {})[store] = outcome
        content = {
            name: {store: asdict(each) for store, each in stores.items()}
            for name, stores in outcomes.items()
        }
        self.results.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        before, _, rest = PAGE.read_text().partition(self._begin)
        _, _, after = rest.partition(self._end)
        PAGE.write_text(before + self.build() + after)

    def build(self) -> str:
        """Return the table of the latest outcomes in reStructuredText."""
        outcomes = self.read()
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {self.widths}"]
        lines += ["", *_build_row("Fault", *(TITLES[store] for store in self.stores))]
        for fault in self.faults:
            if fault.name in outcomes:
                cells = self._cells(fault, outcomes[fault.name])
                lines += _build_row(self.title(fault), *cells)
        table = "\n".join(lines) + "\n"
        return f"{self._begin}\n{table}\n{self._end}"

    @property
    def _begin(self) -> str:
        return f".. begin of the {self.name}, written by python -m tests.faults\n"

    @property
    def _end(self) -> str:
        return f".. end of the {self.name}\n"

    def _cells(self, fault: Tested, outcomes: Mapping[str, Outcome]) -> Iterator[str]:
        for store in self.stores:
            if store in outcomes:
                yield self.describe(fault, store, outcomes[store])
            else:
                yield "not measured" if store in fault.stores else "\\-"


def _build_row(*cells: str) -> Iterator[str]:
    """Return the lines of a row of a list-table."""
    for number, cell in enumerate(cells):
        first, *more = wrap(cell, 76, break_on_hyphens=False) or [""]
        yield f"   {' ' if number else '*'} - {first}"
        yield from (f"       {line}" for line in more)
