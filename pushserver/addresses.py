"""Decide whether a request came from allowed addresses and networks, IPv4 or IPv6.

A request has several addresses: that of the connection, and those that proxies added in
headers, one for each hop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

#: Allows clients of unix sockets, which have no address. The permissions of the
#: socket's file decide who can connect.
UNIX = "unix"

#: Headers in which proxies name the client. Any client can send them, so they can only
#: deny access, never grant it. They hold addresses separated by commas, except for
#: ``Forwarded``, which has a syntax of its own (RFC 7239).
HOP_HEADERS = (
    "X-Forwarded-For",
    "X-Real-IP",
    "Forwarded",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "True-Client-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "X-Azure-ClientIP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Envoy-External-Address",
    "X-Original-Forwarded-For",
)

#: The most addresses in these headers; no request passes through more proxies.
MAX_HOPS = 100

#: The most characters of such a header; no list of so many addresses is longer.
MAX_LENGTH = 100 * MAX_HOPS

#: Stands for an address that a proxy does not know or does not disclose (RFC 7239,
#: section 6.2).
UNKNOWN = "unknown"

# A node of RFC 7239, section 6, with an optional port. An IPv6 address without
# brackets, as in X-Forwarded-For, does not match. No two alternatives of these patterns
# begin with the same characters, so that a client cannot cause much backtracking.
_NODE = re.compile(
    r"(\[(?P<ipv6>[^][:]*:[^][]*)\]|(?P<ipv4>[^][:]+))(:(\d{1,5}|_[\w.-]+))?",
    re.ASCII,
)

# The tokens of Forwarded.
_TOKEN = re.compile(
    r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<sign>[,;=])|[ \t]+|(?P<text>[^\s",;=]+)'
    r"|(?P<unreadable>.)",
    re.DOTALL,
)

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def parse_networks(addresses: Iterable[object]) -> tuple[Network, ...]:
    """Return addresses (``'10.0.0.1'``) and networks (``'10.0.0.0/8'``) as networks.

    Raises ``ValueError``, with a message to show, for anything else.
    """
    networks = (ip_network(str(address), strict=False) for address in addresses)
    return tuple(_without_mapping(network) for network in networks)


def _without_mapping(network: Network) -> Network:
    """Return the IPv4 network in an IPv4-mapped IPv6 network (RFC 4291, 2.5.5.2)."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def known_networks(addresses: object) -> tuple[Network, ...]:
    """Return the networks in a value like ``INTERNAL_IPS``, ignoring other entries.

    Sites may have host names in ``INTERNAL_IPS``, or an object that only supports
    ``in``.
    """
    networks: list[Network] = []
    if not isinstance(addresses, Iterable):
        return ()
    for address in addresses:
        try:
            networks += parse_networks([address])
        except ValueError:
            continue
    return tuple(networks)


def contains(networks: Iterable[Network], address: str | None) -> bool:
    """Return whether a client's address, as the server gives it, is in networks."""
    try:
        # The interface name (fe80::1%eth0) is ignored.
        client = ip_address((address or "").strip().partition("%")[0])
    except ValueError:
        return False
    if isinstance(client, IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return any(client in network for network in networks)


class AllowedClients(tuple[Network, ...]):
    """The networks whose clients are allowed.

    Attributes:
        unix: Whether clients of unix sockets are allowed, too.
    """

    unix: bool = False


def parse_allowed(addresses: Iterable[object]) -> AllowedClients:
    """Return the clients that addresses, networks and :data:`UNIX` allow.

    Raises ``ValueError``, with a message to show, for anything else.
    """
    addresses = list(addresses)
    allowed = AllowedClients(
        parse_networks(address for address in addresses if address != UNIX)
    )
    allowed.unix = UNIX in addresses
    return allowed


def comes_by_unix_socket(
    client: Sequence[object] | None, server: Sequence[object] | None
) -> bool:
    """Return whether a connection uses a unix socket.

    The client of a unix socket has no address. But a server may not know the address of
    a TCP client either, if the connection was reset; so the server's port is checked.

    Args:
        client: The ``client`` of the ASGI scope.
        server: The ``server`` of the ASGI scope.
    """
    if server is None:
        # Daphne gives neither for a unix socket, and both for TCP.
        return client is None
    has_address = client is not None and bool(client[0])
    return not has_address and len(server) == 2 and server[1] in (None, 0, "0")


def read_hops(get: Callable[[str], str | None]) -> str:
    """Return the addresses that proxies added in headers, separated by commas.

    Return an empty text if there are none. An entry that is not an address is returned
    unchanged, or replaced by :data:`UNKNOWN`.

    Args:
        get: Returns the value of one of :data:`HOP_HEADERS`, or None.
    """
    hops = []
    for name in HOP_HEADERS:
        value = get(name)
        if value and len(value) > MAX_LENGTH:
            return UNKNOWN
        if value:
            hops.append(_read_forwarded(value) if name == "Forwarded" else value)
    return ",".join(hops)


def _read_forwarded(header: str) -> str:
    """Return the addresses in ``Forwarded``, or :data:`UNKNOWN` if one is missing."""
    hops: list[str] = []
    nodes: list[str] = []
    pair: list[str] = []
    for token in _TOKEN.finditer(header + ","):
        if token["text"] is not None or token["quoted"] is not None:
            quoted = token["quoted"]
            pair.append(token["text"] or re.sub(r"\\(.)", r"\1", quoted or ""))
        elif token["unreadable"] is not None:
            return UNKNOWN
        elif token["sign"] == "=":
            pair.append("=")
        elif token["sign"] is not None:
            if pair:
                if len(pair) != 3 or pair[1] != "=":
                    return UNKNOWN
                if pair[0].lower() == "for":
                    nodes.append(pair[2])
                pair = []
            if token["sign"] == ",":
                if len(nodes) != 1 or "," in nodes[0] or len(hops) == MAX_HOPS:
                    return UNKNOWN
                hops += nodes
                nodes = []
    return ",".join(hops)


def read_node(node: str) -> str:
    """Return the address of a node, which may have a port and brackets."""
    node = node.strip()
    match = _NODE.fullmatch(node)
    return node if match is None else match["ipv6"] or match["ipv4"]


def is_inside(
    networks: Iterable[Network],
    client: str | None,
    hops: str | None,
    *,
    unix: bool = False,
) -> bool:
    """Return whether all addresses of a request are in networks.

    Behind a reverse proxy on this machine each connection is local, and the first entry
    of ``X-Forwarded-For`` is whatever the client sent. So the address of the connection
    and each address in the proxies' headers must be in the networks. Such a header can
    only deny access.

    Args:
        networks: The allowed networks.
        client: The address of the connection, None if the server does not know it.
        hops: The result of :func:`read_hops`, or None.
        unix: Whether the connection uses a unix socket and these are allowed.
    """
    networks = tuple(networks)
    if not unix and not contains(networks, client):
        return False
    if not hops:
        return True
    proxies = hops.split(",", MAX_HOPS)
    return len(proxies) <= MAX_HOPS and all(
        contains(networks, read_node(hop)) for hop in proxies
    )
