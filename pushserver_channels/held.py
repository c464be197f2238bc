"""Limit how many requests, streams and sockets of subscribers a process holds."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from pushserver.conf import PushServerSettings
from pushserver.conf.limits import (
    find_max_held,
    find_max_held_per_client,
    find_open_files,
)

from .clients import Clients, is_public
from .counters import counters
from .exceptions import TooManyHeld, TooManyHeldByClient
from .paced_log import PacedLog
from .types import Scope

logger = logging.getLogger("pushserver.limits")


class HeldLimits:
    """Counts what subscribers hold, and refuses what is more than the limits.

    Args:
        settings: The settings in ``PUSH_SERVER``.

    Attributes:
        held: How many requests, streams and sockets are held.
        clients: How many of them each client holds that holds one or more.
    """

    def __init__(self, settings: PushServerSettings) -> None:
        limit = settings.max_held
        if limit is None:
            limit = find_max_held()
        files = find_open_files()
        if files is not None and limit >= files:
            logger.warning(
                "PUSH_SERVER['max_held'] is %d, but this process may open %d files"
                " (LimitNOFILE, ulimit -n): when subscribers have opened them, nobody"
                " can publish.",
                limit,
                files,
                extra={"reason": "limited"},
            )
        self._limit = limit or sys.maxsize
        per_client = settings.max_held_per_client
        #: Whether the limit of a client applies to private addresses as well, one of
        #: which may be a proxy that the settings do not name.
        self._limits_private = per_client is not None
        if per_client is None:
            per_client = find_max_held_per_client(limit)
        self._per_client = per_client
        self._clients = Clients(settings.trusted_proxies)
        self.held = 0
        self.clients: dict[str, int] = {}
        self._refused = PacedLog(
            logger,
            f"%d subscribers were refused, because this process holds {limit} requests,"
            " streams and sockets: PUSH_SERVER['max_held']. It depends on the files"
            " that the process may open (LimitNOFILE, ulimit -n).",
        )
        self._refused_clients = PacedLog(
            logger,
            "%d subscribers were refused, because their addresses hold"
            f" {per_client} requests, streams and sockets each:"
            " PUSH_SERVER['max_held_per_client']. The last one came from %s.",
        )

    @property
    def is_reached(self) -> bool:
        """Whether the process holds as much as it may."""
        return self.held >= self._limit

    def admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """Count a request that may be held; return the client, for :meth:`release`.

        Args:
            scope: The ASGI scope of the request.
            headers: The headers of the request, by name.

        Raises :class:`TooManyHeld` or :class:`TooManyHeldByClient` if it is one too
        many, and is not counted.
        """
        if self.held >= self._limit:
            counters.limits["max_held"] += 1
            self._refused.add(extra={"reason": TooManyHeld.reason})
            raise TooManyHeld
        client = ""
        if self._per_client:
            client = self._clients.find(scope, headers)
            if client:
                count = self.clients.get(client, 0)
                if count >= self._per_client and (
                    self._limits_private or is_public(client)
                ):
                    counters.limits["max_held_per_client"] += 1
                    self._refused_clients.add(
                        client, extra={"reason": TooManyHeld.reason, "client": client}
                    )
                    raise TooManyHeldByClient(self._per_client)
                self.clients[client] = count + 1
        self.held += 1
        return client

    def release(self, client: str) -> None:
        """Stop counting a request that has ended.

        Args:
            client: What :meth:`admit` returned for it.
        """
        self.held -= 1
        if client:
            count = self.clients[client] - 1
            if count:
                self.clients[client] = count
            else:
                del self.clients[client]
