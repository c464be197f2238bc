"""Which addresses count as inside: addresses and networks, IPv4 and IPv6.

A request has an address for each hop: that of the connection, and those that proxies
told in headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

#: Stands among addresses for unix sockets, whose clients have none: who may open the
#: file of the socket is inside.
UNIX = "unix"

#: Headers in which proxies tell for whom they ask. Anybody can send them, so each can
#: only take rights away. They hold addresses with commas between them, but for
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

#: Addresses that proxies may tell of; no request passes through more proxies.
MAX_HOPS = 100

#: Characters of a header that is read; no list of so few addresses is longer.
MAX_LENGTH = 100 * MAX_HOPS

#: What a proxy tells that does not know, or does not want to tell (RFC 7239, 6.2).
UNKNOWN = "unknown"

# A node of RFC 7239, section 6, with a port. An IPv6 address without brackets, as
# X-Forwarded-For has it, is none. No two parts of a pattern may begin with the same
# characters, or a client could have it tried in every way.
_NODE = re.compile(
    r"(\[(?P<ipv6>[^][:]*:[^][]*)\]|(?P<ipv4>[^][:]+))(:(\d{1,5}|_[\w.-]+))?",
    re.ASCII,
)

# What Forwarded consists of. Each alternative begins with other characters.
_TOKEN = re.compile(
    r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<sign>[,;=])|[ \t]+|(?P<text>[^\s",;=]+)'
    r"|(?P<unreadable>.)",
    re.DOTALL,
)

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def parse_networks(addresses: Iterable[object]) -> tuple[Network, ...]:
    """Return addresses (``'10.0.0.1'``) and networks (``'10.0.0.0/8'``) as networks.

    Raises ``ValueError``, with a sentence, for a text that is neither.
    """
    networks = (ip_network(str(address), strict=False) for address in addresses)
    return tuple(_without_mapping(network) for network in networks)


def _without_mapping(network: Network) -> Network:
    """Return an IPv4 network that was written as an IPv6 one (RFC 4291, 2.5.5.2)."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def known_networks(addresses: object) -> tuple[Network, ...]:
    """Return the networks among addresses, leaving out what is none.

    ``INTERNAL_IPS`` is Django's: sites put host names there, or an object that only
    knows ``in``.
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
    """Return whether a client's address, as the server names it, is in networks."""
    try:
        # An interface name (fe80::1%eth0) says nothing about where an address belongs.
        client = ip_address((address or "").strip().partition("%")[0])
    except ValueError:
        return False
    if isinstance(client, IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    return any(client in network for network in networks)


class AllowedClients(tuple[Network, ...]):
    """Networks, and whether clients of unix sockets belong to them.

    Attributes:
        unix: Whether they do.
    """

    unix: bool = False


def parse_allowed(addresses: Iterable[object]) -> AllowedClients:
    """Return addresses, networks and perhaps :data:`UNIX` as what they allow.

    Raises ``ValueError``, with a sentence, for anything else.
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
    """Return whether a connection with these ends of an ASGI scope is a unix socket's.

    Its client has no address, which alone would say little: a server may not know that
    of a TCP connection that has been reset. But a TCP server has a port.
    """
    if server is None:
        return (
            client is None
        )  # Daphne knows neither; of a TCP connection it knows both.
    has_address = client is not None and bool(client[0])
    return not has_address and len(server) == 2 and server[1] in (None, 0, "0")


def read_hops(get: Callable[[str], str | None]) -> str:
    """Return the addresses that proxies told, with commas between them.

    It is empty if they told nothing. Where they told something that names no address
    there is something else, such as :data:`UNKNOWN`.

    Args:
        get: Returns the value of one of :data:`HOP_HEADERS`, None if there is none.
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


def _read_node(node: str) -> str:
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
    """Return whether a request came from networks, all the way.

    A reverse proxy on this machine makes each client look local, and the first entry
    of ``X-Forwarded-For`` is whatever the client wrote there. So the address of the
    connection and each address that a proxy told have to be inside: such a header can
    only take rights away.

    Args:
        networks: What counts as inside.
        client: The address of the connection, None if the server does not know it.
        hops: What :func:`read_hops` returned, None for nothing.
        unix: Whether the connection came by a unix socket that is allowed.
    """
    networks = tuple(networks)
    if not unix and not contains(networks, client):
        return False
    if not hops:
        return True
    told = hops.split(",", MAX_HOPS)
    return len(told) <= MAX_HOPS and all(
        contains(networks, _read_node(hop)) for hop in told
    )
