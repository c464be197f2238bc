"""What log records say about a request, besides their text.

Tokens and bodies are never among it: neither are queries and headers.
"""

from __future__ import annotations

from collections.abc import Sequence

from .types import Scope

#: The most characters of channel ids in a record.
MAX_SHOWN_IDS = 512


def describe_request(
    scope: Scope,
    channel_ids: Sequence[str],
    transport: str,
    reason: str,
    client: str | None = None,
) -> dict[str, str]:
    """Return the ``extra`` of a log record about a request.

    Args:
        scope: The ASGI scope of the request.
        channel_ids: The channels.
        transport: The transport, or ``publisher``.
        reason: Why it is logged, one of :data:`.exceptions.REASONS`.
        client: The address of the client, None for that of the connection.
    """
    if not client:
        address = scope.get("client")
        client = (address[0] or "") if address else ""
    return {
        "channel_id": ",".join(channel_ids)[:MAX_SHOWN_IDS],
        "client": client,
        "transport": transport,
        "reason": reason,
    }
