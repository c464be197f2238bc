"""What subscribers hold: a request of each transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .exchanges import Exchange, Site
from .streams import EVENTS, EventExchange, SocketExchange

Hold = Callable[[Site, str], Awaitable[Exchange]]


async def poll(site: Site, path: str) -> Exchange:
    return site.exchange("GET", path).start()


async def batch(site: Site, path: str) -> Exchange:
    return site.exchange("GET", f"{path}?batch=1", [EVENTS]).start()


async def stream(site: Site, path: str) -> Exchange:
    return EventExchange(site.application, "GET", path, [EVENTS]).start()


async def socket(site: Site, path: str) -> Exchange:
    return SocketExchange(site, path, (), ["ws+meta.pushserver"]).start()
