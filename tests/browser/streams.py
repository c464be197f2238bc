"""Servers and pages for the tests of streams."""

from __future__ import annotations

import json
from typing import Any

from tests.servers import ServerProcess, daphne

from .stage import Site, Visit

SCRIPTS = ("updates.js", "updates.streams.js")

#: The requests that a page has sent, by their decoded URLs.
ASKED = """
    exchanges.filter((each) => !each.status).map(({url}) => decodeURIComponent(url))
"""


def streaming_server(site: Site, **push_server: Any) -> ServerProcess:
    """Return a Daphne whose location takes several channels in one URL."""
    locations = [
        {"type": "publisher", "prefix": "/send-update/"},
        {
            "type": "subscriber",
            "prefix": "/updates/",
            "separator": ",",
            "create_on_get": True,
            "allow_origin": site.url,
            "allow_credentials": True,
        },
    ]
    return daphne({"locations": locations, **push_server})


def subscribe(url: str, *channels: str, prefix: str = "", **options: Any) -> str:
    """Return the script with which a page subscribes to channels, as their ids."""
    urls = {
        each: {"url": f"{url}/updates/{prefix}{each}", **options} for each in channels
    }
    return f"""
        for (const name of {json.dumps(channels)}) {{
            updates.on(name, ({{data}}) => got.push(data));
            updates.onGap(name, (missed) => gaps.push([name, missed, got.length]));
        }}
        updates.onState((...state) => states.push(state));
        updates.onExchange((exchange) => exchanges.push(exchange));
        updates.subscribe({json.dumps(urls)});
    """


async def until_streaming(page: Visit, transport: str = "stream") -> None:
    """Wait until the last state of each channel is that it is live, and how."""
    await page.until(
        """(transport) => {
            const last = new Map(states.map(([state, name, detail]) =>
                [name, `${state} ${detail.transport}`]));
            return last.size > 0
                && [...last.values()].every((each) => each === `live ${transport}`);
        }""",
        transport,
    )
