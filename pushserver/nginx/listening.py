"""Decide whether nginx listens at an address, by its ``listen`` directives."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

#: The port of an address without one.
HTTP = "80"


def is_listening_at(listens: Iterable[str], address: str) -> bool:
    """Return whether one of several ``listen`` directives covers an address.

    Args:
        listens: The values of the directives: a port, an address or both.
        address: An address of this machine: ``host:port``.
    """
    host, port = _split(address)
    for each in listens:
        if each.startswith("unix:"):
            continue
        at_host, at_port = _split(each)
        # In nginx, [::] is for IPv6 only.
        everywhere = ("[::]",) if host.startswith("[") else ("*", "0.0.0.0")
        if at_port == port and (at_host in (host, *everywhere) or _is_name(at_host)):
            return True
    return False


def _split(address: str) -> tuple[str, str]:
    if address.isdigit():
        return "*", address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        host, port = address, HTTP
    return ("127.0.0.1" if host == "localhost" else host), port


def _is_name(host: str) -> bool:
    """Return whether a host is a name, whose address is not known here."""
    if host == "*":
        return False
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return True
    return False
