"""Write the results into docs/explanation/performance.rst, between marks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from statistics import median
from textwrap import wrap
from typing import Any

from pushserver.conf import SubscriberLocation

from .measure import Result
from .report import show
from .scenarios.several import PAGES
from .scenarios.several import SERVERS as PAGE_SERVERS
from .servers import CONTENDERS

Rows = list[Sequence[str]]

THROUGHPUT = ("publish", "fanout 100", "fanout 1,000", "fanout 5,000", "spread")
OURS = ("daphne", "runpushserver", "uvicorn", "uvicorn-tuned")

#: For sizing: the planned load of a core, the seconds between two messages to a client,
#: and the seconds after which a poll ends without a message.
BUSY = 0.5
PAUSES = (10, 60)
TIMEOUT = SubscriberLocation.timeout
NONE = "–"


def fill_in(text: str, machine: dict[str, Any], results: list[Result]) -> str:
    """Return a page with new tables; a table without results is left unchanged."""
    found = {(each.scenario, each.server): each for each in results}
    for name, build in TABLES.items():
        lines = build(machine, found)
        if lines:
            text = _replace(text, name, lines)
    return text


def _replace(text: str, name: str, lines: list[str]) -> str:
    begin, end = f".. results: {name}\n", f".. end of results: {name}\n"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"The page has no place for the results of {name!r}.")
    new = "\n".join([begin, *lines, "", end])
    return pattern.sub(lambda match: new, text)


Found = dict[tuple[str, str], Result]


def _machine(machine: dict[str, Any], found: Found) -> list[str]:
    processor, count = machine["processor"], machine["cores"]
    others = [f"{name} {machine[name]}" for name in list(machine)[2:]]
    turns = max((len(each.values) for each in found.values()), default=0)
    busy = max((each.load or 0 for each in found.values()), default=0)
    served = [
        each.more["server_cpu_pct"]
        for each in found.values()
        if "server_cpu_pct" in each.more and not each.scenario.startswith("redis")
    ]
    spreads = [
        (max(each.ratios) - min(each.ratios)) / each.ratio / 2
        for each in found.values()
        if each.ratio and CONTENDERS[each.server].floor != each.server
    ]
    text = (
        f"Measured on {processor}, {count} cores, with {', '.join(others)}; medians of"
        f" {turns} turns, whose ratios typically differ by"
        f" ±{median(spreads or [0]):.0%}. The core of the load generator was busy"
        f" {busy:.0f} % of the time at most"
    )
    text += f", that of a server {median(served):.0f} % as a rule." if served else "."
    return wrap(text, 88)


def _rates(machine: dict[str, Any], found: Found) -> list[str]:
    return _matrix(found, THROUGHPUT, lambda result: show(result.value))


def _ratios(machine: dict[str, Any], found: Found) -> list[str]:
    ours_and_others = {
        key: result for key, result in found.items() if not key[1].endswith("-bare")
    }
    return _matrix(ours_and_others, THROUGHPUT, _ratio)


def _idle(machine: dict[str, Any], found: Found) -> list[str]:
    rows: Rows = [("server", "KiB a client", "to bare", "after they left", "and twice")]
    for (scenario, _), result in found.items():
        if scenario == "idle":
            left = (_kib(result.more[name]) for name in ("left", "left_again"))
            rows.append((result.title, _kib(result.value), _ratio(result), *left))
    return _table(rows)


def _streams(machine: dict[str, Any], found: Found) -> list[str]:
    names = ("streams 1,000", "streams 5,000", "streams idle")
    rows: Rows = [
        ("server", "1,000, deliveries/s", "to bare", "5,000", "to bare", "KiB a stream")
    ]
    for server, contender in CONTENDERS.items():
        results = [found.get((name, server)) for name in names]
        if any(results):
            *rates, idle = results
            cells = [
                NONE if each is None else cell(each)
                for each in rates
                for cell in (lambda result: show(result.value), _ratio)
            ]
            memory = NONE if idle is None else _kib(idle.value)
            rows.append((contender.title, *cells, memory))
    return _table(rows)


def _sockets(machine: dict[str, Any], found: Found) -> list[str]:
    rows: Rows = [("server", "1,000, deliveries/s", "to bare")]
    for (scenario, _), result in found.items():
        if scenario == "sockets 1,000":
            rows.append((result.title, show(result.value), _ratio(result)))
    return _table(rows)


def _several(machine: dict[str, Any], found: Found) -> list[str]:
    rows: Rows = [
        (
            *("server", "KiB a stream", "of 8 channels"),
            *("8 polls, messages/s", "one stream", "to polls"),
            "polls beside streams",
        )
    ]
    for server in PAGE_SERVERS:
        one = found.get(("several idle", f"{server}-sse"))
        several = found.get(("several idle", f"{server}-sse-8"))
        polls = found.get(("page of 8", server))
        stream = found.get(("page of 8", f"{server}-sse-8"))
        beside = found.get(("polls beside streams", f"{server}-beside"))
        if one and several and polls and stream and beside:
            memory = (_kib(one.value), _kib(several.value))
            rates = [show(each.value / PAGES) for each in (polls, stream)]
            title = CONTENDERS[server].title
            rows.append((title, *memory, *rates, _ratio(stream), _ratio(beside)))
    return _table(rows)


def _grow(machine: dict[str, Any], found: Found) -> list[str]:
    rows: Rows = [("publishing with", "server", "few", "more", "most", "most to few")]
    words = {"grow channels": "channels", "grow messages": "kept", "grow held": "held"}
    for (scenario, _), result in found.items():
        if scenario in words:
            rates = [f"{show(n)} at {size}" for size, n in result.more["rates"].items()]
            rows.append((words[scenario], result.title, *rates, f"{result.value:.2f}"))
    return _table(rows)


def _kept(machine: dict[str, Any], found: Found) -> list[str]:
    """Return a sentence about the memory that the memory store takes."""
    channels = found.get(("grow channels", "uvicorn"))
    messages = found.get(("grow messages", "uvicorn"))
    if channels is None or messages is None:
        return []
    text = (
        "The memory store takes"
        f" {_kib(messages.more['bytes_each'])} KiB for a kept message of 200 bytes, and"
        f" {_kib(channels.more['bytes_each'])} KiB for a channel with one."
    )
    return wrap(text, 88)


def _tuning(machine: dict[str, Any], found: Found) -> list[str]:
    rows: Rows = [("measure, alone", "deliveries/s", "gain", "from", "to")]
    for (scenario, server), result in found.items():
        if scenario == "tuning" and server != "stock" and result.ratio is not None:
            gains = (result.ratio, min(result.ratios), max(result.ratios))
            shown = [f"×{gain:.2f}" for gain in gains]
            rows.append((result.title, show(result.value), *shown))
    return _table(rows)


def _redis(machine: dict[str, Any], found: Found) -> list[str]:
    rows: Rows = [("server", "scenario", "on Redis", "compared with", "ratio")]
    for (scenario, server), result in found.items():
        floor = found.get((scenario, CONTENDERS[server].floor))
        if floor is None or not scenario.startswith("redis ") or floor is result:
            continue
        name = f"{scenario.removeprefix('redis ')}, {result.unit}"
        value = show(result.value)
        if server.endswith("-4"):
            value += f", {show(result.value / 4)} each"
        other = f"{show(floor.value)}, {floor.title}"
        rows.append((result.title, name, value, other, _ratio(result)))
    return _table(rows)


def _churn(machine: dict[str, Any], found: Found) -> list[str]:
    rows: Rows = [("server", "clients that came", "MB before", "MB after", "more")]
    for (scenario, _), result in found.items():
        if scenario == "churn":
            more = result.more
            clients, first = f"{more['clients']:,}", f"{more['first_mb']:.1f}"
            last = f"{more['last_mb']:.1f}"
            rows.append((result.title, clients, first, last, f"{result.value:.1f} %"))
    return _table(rows)


def _sizing(machine: dict[str, Any], found: Found) -> list[str]:
    pauses = [f"a message each {pause} s" for pause in PAUSES]
    rows: Rows = [("one process of", "D", "P", "M", *pauses, "memory of 10,000")]
    for server in OURS:
        keys = [(name, server) for name in ("fanout 5,000", "publish", "idle")]
        if not all(key in found for key in keys):
            continue
        delivered, published, held = (found[key].value for key in keys)
        clients = [
            f"{_round(delivered * BUSY * pause / (1 + pause // TIMEOUT)):,}"
            for pause in PAUSES
        ]
        memory = f"{held * 10_000 / 2**20:.0f} MiB"
        constants = (show(delivered), show(published), f"{_kib(held)} KiB")
        rows.append((CONTENDERS[server].title, *constants, *clients, memory))
    return _table(rows)


TABLES: dict[str, Callable[[dict[str, Any], Found], list[str]]] = {
    "machine": _machine,
    "rates": _rates,
    "ratios": _ratios,
    "idle": _idle,
    "streams": _streams,
    "sockets": _sockets,
    "several": _several,
    "sizing": _sizing,
    "grow": _grow,
    "kept": _kept,
    "churn": _churn,
    "redis": _redis,
    "tuning": _tuning,
}


def _matrix(
    found: Found, scenarios: Sequence[str], cell: Callable[[Result], str]
) -> list[str]:
    """Return a table with a row for each server and a column for each scenario."""
    servers = [
        name
        for name in CONTENDERS
        if any((scenario, name) in found for scenario in scenarios)
    ]
    rows: Rows = [("server", *scenarios)]
    for server in servers:
        cells = [found.get((scenario, server)) for scenario in scenarios]
        shown = [NONE if each is None else cell(each) for each in cells]
        rows.append((CONTENDERS[server].title, *shown))
    return _table(rows)


def _table(rows: Rows) -> list[str]:
    """Return rows as a reStructuredText table, empty if there is only a header."""
    if len(rows) < 2:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = " ".join("=" * width for width in widths)
    head, *body = (
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return [rule, head.rstrip(), rule, *(line.rstrip() for line in body), rule]


def _ratio(result: Result) -> str:
    return NONE if result.ratio is None else f"{result.ratio:.2f}"


def _kib(size: float) -> str:
    return f"{size / 1024:.1f}"


def _round(number: float) -> int:
    """Return a number rounded to two significant digits."""
    digits = max(len(str(int(number))) - 2, 0)
    return int(round(number, -digits))
