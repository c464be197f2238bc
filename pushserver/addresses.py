"""Which addresses count as inside: addresses and networks, IPv4 and IPv6."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

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


def is_inside(
    networks: Iterable[Network], client: str | None, forwarded_for: str | None
) -> bool:
    """Return whether a request came from networks, all the way.

    A reverse proxy on this machine makes each client look local, and the first entry
    of ``X-Forwarded-For`` is whatever the client wrote there. So the address of the
    connection and each address that a proxy told have to be inside: such a header can
    only take rights away.

    Args:
        networks: What counts as inside.
        client: The address of the connection, None if the server does not know it.
        forwarded_for: The addresses in ``X-Forwarded-For`` and the like, if there was
            such a header, with commas between them.
    """
    networks = tuple(networks)
    hops = [client]
    if forwarded_for:
        hops += forwarded_for.split(",")
    return all(contains(networks, hop) for hop in hops)
