"""The results as a chart: a row for each scenario, a dot for each server."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10

from .measure import Result

#: The servers in the chart, with their colour, and whether the dot is filled; the bare
#: applications are rings.
SERVERS = {
    "daphne-bare": ("#3d7ab8", False),
    "daphne": ("#3d7ab8", True),
    "runpushserver": ("#1f9e89", True),
    "uvicorn-bare": ("#cc6b2c", False),
    "uvicorn": ("#cc6b2c", True),
    "eventstream-daphne": ("#a05fb0", True),
    "nchan": ("#8a8f98", True),
}
SCENARIOS = ("publish", "fanout 100", "fanout 1,000", "fanout 5,000", "spread")

#: The colour of text, readable on light and on dark pages.
INK = "#7d838c"
WIDTH, LEFT, RIGHT, ROW, TOP = 720, 120, 40, 46, 92


def build_chart(results: list[Result]) -> str:
    """Return an SVG of the deliveries or messages per second of each server.

    The axis is logarithmic, so a ratio has the same length everywhere.
    """
    values = {
        (each.scenario, each.server): each.value
        for each in results
        if each.scenario in SCENARIOS and each.server in SERVERS and each.value > 0
    }
    scenarios = [name for name in SCENARIOS if any(name == key[0] for key in values)]
    if not scenarios:
        return ""
    lowest = floor(log10(min(values.values())))
    highest = max(ceil(log10(max(values.values()))), lowest + 1)
    bottom = TOP + ROW * len(scenarios)

    def x(value: float) -> float:
        part = (log10(value) - lowest) / (highest - lowest)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    titles = {
        each.server: each.title
        for each in results
        if (each.scenario, each.server) in values
    }
    shapes = _legend(titles)
    for power in range(lowest, highest + 1):
        at = x(10**power)
        shapes.append(_line(at, TOP, at, bottom))
        shapes.append(_text(at, bottom + 20, f"{10**power:,}", "middle"))
    shapes.append(_text(WIDTH - RIGHT, bottom + 40, "a second, on one core", "end"))
    for row, scenario in enumerate(scenarios):
        y = TOP + ROW * row + ROW / 2
        shapes.append(_text(LEFT - 16, y + 4, scenario, "end"))
        mine = {
            name: values[key] for name in SERVERS if (key := (scenario, name)) in values
        }
        shapes.append(_line(x(min(mine.values())), y, x(max(mine.values())), y))
        shapes += [_dot(x(value), y, name) for name, value in mine.items()]
    height = bottom + 52
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' width="{WIDTH}" height="{height}" role="img"'
            ' font-family="system-ui, sans-serif" font-size="13">',
            "<title>Deliveries and messages a second</title>",
            *shapes,
            "</svg>\n",
        ]
    )


def _legend(titles: dict[str, str]) -> list[str]:
    shapes = []
    for number, server in enumerate(name for name in SERVERS if name in titles):
        x, y = 16 + number % 3 * 235, 18 + number // 3 * 22
        shapes.append(_dot(x, y, server))
        shapes.append(_text(x + 12, y + 4, titles[server], "start"))
    return shapes


def _dot(x: float, y: float, server: str) -> str:
    colour, filled = SERVERS[server]
    fill = colour if filled else "none"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{fill}"'
        f' stroke="{colour}" stroke-width="2.5"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke="{INK}" stroke-opacity="0.35"/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
