"""End a connection in a limited time, whether its client reads or not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from pushserver_channels.client_connection import ClientConnection


async def close_connection(
    connection: ClientConnection,
    sending: Coroutine[Any, Any, None],
    timeout: float,
    *,
    waits_until_read: bool,
) -> None:
    """Send the end of a stream, or abort the connection.

    Args:
        connection: The connection.
        sending: Sends the end.
        timeout: Seconds in which the end must be sent.
        waits_until_read: Whether the client may read the end at any time. If not, the
            connection is aborted after another ``timeout`` seconds: a server that stops
            would wait until the client has read it.

    Raises what ``sending`` raises.
    """
    closing = asyncio.ensure_future(sending)
    try:
        await asyncio.wait([closing], timeout=timeout)
        if not closing.done():
            if connection.abort():
                # Let the server notice the abort before the application returns.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            return
        closing.result()
        if not waits_until_read and connection.count_unsent():
            asyncio.get_running_loop().call_later(timeout, connection.abort)
    finally:
        closing.cancel()
