"""From which address a request comes."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pushserver.addresses import parse_allowed
from pushserver_channels.clients import Clients, is_public

UNIX: dict[str, Any] = {"client": None, "server": None}


def find(trusted: list[str], peer: str, *forwarded: str, **scope: Any) -> str:
    """Return the client of a request with the given ``X-Forwarded-For``."""
    headers = {b"x-forwarded-for": ", ".join(forwarded).encode()} if forwarded else {}
    scope = {"client": [peer, 40_000], "server": ["127.0.0.1", 8000], **scope}
    return Clients(parse_allowed(trusted)).find(scope, headers)


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("no address", "no address"),
        ("no:address", "no:address"),
    ],
)
async def test_peers(peer: str, client: str) -> None:
    """A client is an IPv4 address, or a /64 of IPv6."""
    assert find([], peer) == client


@pytest.mark.parametrize("scope", [UNIX, {"client": ["", 0], "server": ["/s", None]}])
async def test_unix_sockets_have_no_client(scope: dict[str, Any]) -> None:
    """The client of a unix socket is unknown, whatever it sends."""
    assert find([], "", **scope) == ""
    assert find(["127.0.0.1"], "", "192.0.2.1", **scope) == ""


@pytest.mark.parametrize("scope", [UNIX, {"client": ["", 0], "server": ["/s", None]}])
async def test_trusted_unix_sockets(scope: dict[str, Any]) -> None:
    """'unix' trusts a proxy that uses a unix socket, and no client of TCP."""
    assert find(["unix"], "", "192.0.2.1", **scope) == "192.0.2.1"
    assert find(["unix"], "", "192.0.2.1") == ""


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1:4000"], "192.0.2.1"),
        (["[2001:db8::1]:4000"], "2001:db8::/64"),
        (["2001:db8::1"], "2001:db8::/64"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        # What the client itself has sent stands on the left.
        (["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
        (["198.51.100.9", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        (["unknown", "192.0.2.1", "10.0.0.2", "10.0.0.3"], "192.0.2.1"),
        # What is no address ends the walk.
        (["192.0.2.1", "unknown"], "10.0.0.1"),
        (["192.0.2.1", "_hidden", "10.0.0.2"], "10.0.0.2"),
        (["192.0.2.1", "", "10.0.0.2"], "10.0.0.2"),
        (["192.0.2.999"], "10.0.0.1"),
        (["192.0.2.1%eth0"], "10.0.0.1"),
        (["2001:db8::1%eth0"], "2001:db8::/64"),
        ([""], "10.0.0.1"),
        (["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
        (["192.0.2.1", *["10.0.0.2"] * 200], "10.0.0.2"),
    ],
)
async def test_forwarded_addresses(forwarded: list[str], client: str) -> None:
    """Of what a trusted proxy forwards, the last address that is no proxy counts."""
    assert find(["10.0.0.0/8"], "10.0.0.1", *forwarded) == client


async def test_proxy_that_is_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    """What others forward is not believed, and the log says so once."""
    clients = Clients(parse_allowed(["10.0.0.1"]))
    headers = {b"x-forwarded-for": b"192.0.2.1"}
    for peer in ("10.0.0.2", "10.0.0.3"):
        assert clients.find({"client": [peer, 1], "server": None}, headers) == peer
    assert clients.find({"client": None, "server": None}, headers) == ""
    [line] = caplog.records
    assert line.levelno == logging.WARNING
    assert "'trusted_proxies'] does not name the address 10.0.0.2" in line.getMessage()


async def test_server_that_has_replaced_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An address that the server took from the header itself is no proxy."""
    assert find([], "192.0.2.1", "198.51.100.9", "192.0.2.1") == "192.0.2.1"
    assert caplog.records == []


@pytest.mark.parametrize(
    ("client", "public"),
    [
        ("8.8.8.8", True),
        ("2600:1901::/64", True),
        ("no address", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.17.0.1", False),
        ("100.64.0.1", False),
        ("::/64", False),
        ("fd00::/64", False),
        ("fe80::/64", False),
    ],
)
def test_public_clients(client: str, public: bool) -> None:
    """Addresses of this machine and of private networks are not public."""
    assert is_public(client) is public
