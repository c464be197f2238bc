"""Find out from which address a request comes, through the proxies of the site.

A client is an address; of IPv6, whose users have 2^64 addresses each, a network of that
size. Any client can send ``X-Forwarded-For``, so only what a trusted proxy has added to
it is believed: each proxy adds the address of its own client on the right.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

from pushserver.addresses import (
    MAX_HOPS,
    AllowedClients,
    comes_by_unix_socket,
    contains,
    read_node,
)

from .memoize import memoize
from .paced_log import PacedLog
from .types import Scope

logger = logging.getLogger("pushserver.limits")

#: The network of one user of IPv6.
IPV6_PREFIX = 64

#: The least number of seconds between two warnings of a proxy that is not trusted.
WARNING_INTERVAL = 3600


class Clients:
    """Finds the client of a request.

    Args:
        trusted: The proxies whose ``X-Forwarded-For`` is believed.
    """

    def __init__(self, trusted: AllowedClients) -> None:
        self._trusted = trusted
        self._is_trusted: Callable[[str], bool] = memoize(max_size=4096)(
            partial(contains, trusted)
        )
        self._believe: Callable[[str, bytes], str] = memoize(max_size=4096)(
            self._find_believed
        )
        self._unknown_proxies = PacedLog(
            logger,
            "%d requests had X-Forwarded-For, but PUSH_SERVER['trusted_proxies'] does"
            " not name the address %s that sent the last one. If it is a proxy of this"
            " site, name it there: all its clients count as one for"
            " 'max_held_per_client', or are not limited if the address is private.",
            WARNING_INTERVAL,
        )

    def find(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """Return the client's address or network, empty if it is unknown.

        Args:
            scope: The ASGI scope of the request.
            headers: The headers of the request, by name.
        """
        client = scope.get("client")
        peer: str = (client[0] or "") if client else ""
        forwarded = headers.get(b"x-forwarded-for")
        if forwarded is not None:
            if self._trusts(peer, scope):
                return self._believe(peer, forwarded)
            # uvicorn itself may have put the forwarded address in place of the peer's.
            if all(read_node(each) != peer for each in _split(forwarded)):
                self._unknown_proxies.add(
                    peer or "of a unix socket",
                    extra={"client": peer, "reason": "invalid"},
                )
        return peer if ":" not in peer else group_ipv6(peer)

    def _trusts(self, peer: str, scope: Scope) -> bool:
        """Return whether the client of the connection is a trusted proxy."""
        if peer:
            return bool(self._trusted) and self._is_trusted(peer)
        return self._trusted.unix and comes_by_unix_socket(
            scope.get("client"), scope.get("server")
        )

    def _find_believed(self, peer: str, forwarded: bytes) -> str:
        """Return the client that a trusted proxy forwards.

        Args:
            peer: The address of the proxy.
            forwarded: The header.
        """
        for each in reversed(_split(forwarded)):
            address = read_node(each)
            if not is_address(address):
                break
            peer = address
            if not self._is_trusted(peer):
                break
        return group_ipv6(peer)


def _split(forwarded: bytes) -> list[str]:
    """Return the addresses in ``X-Forwarded-For``, the last ones of very many."""
    return forwarded.decode("latin-1").rsplit(",", MAX_HOPS)


def is_address(text: str) -> bool:
    """Return whether a text is an address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@memoize(max_size=4096)
def group_ipv6(address: str) -> str:
    """Return the network of an IPv6 address, or the IPv4 address that is mapped to it.

    What is no address is returned unchanged.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, IPV6_PREFIX), strict=False))


@memoize(max_size=4096)
def is_public(client: str) -> bool:
    """Return whether a client is reached over the Internet, not in a private network.

    Args:
        client: What :meth:`Clients.find` returned.
    """
    try:
        return ip_network(client).network_address.is_global
    except ValueError:
        return True
