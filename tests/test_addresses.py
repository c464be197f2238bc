from __future__ import annotations

from typing import Any

import pytest

from pushserver.addresses import (
    HOP_HEADERS,
    LOOPBACK,
    MAX_LENGTH,
    comes_by_unix_socket,
    contains,
    is_inside,
    known_networks,
    parse_allowed,
    parse_networks,
    read_hops,
)


@pytest.mark.parametrize(
    ("networks", "address"),
    [
        (["10.0.0.1"], "10.0.0.1"),
        (["10.0.0.0/8"], "10.255.255.255"),
        (["10.1.2.3/8"], "10.0.0.1"),
        (["0.0.0.0/0"], "203.0.113.9"),
        (["::1"], "::1"),
        (["2001:db8::/32"], "2001:db8::ffff"),
        (["2001:DB8::1"], "2001:db8:0:0::1"),
        (["192.0.2.1", "::1"], "::1"),
        (["10.0.0.1"], " 10.0.0.1 "),
        (["10.0.0.1"], "::ffff:10.0.0.1"),
        (["::ffff:10.0.0.1"], "::ffff:10.0.0.1"),
        (["fe80::/10"], "fe80::1%eth0"),
        (["fe80::1%eth0"], "fe80::1%eth0"),
    ],
)
def test_address_inside_a_network_is_contained(
    networks: list[str], address: str
) -> None:
    """Addresses and networks of IPv4 and IPv6 contain addresses in any notation."""
    assert contains(parse_networks(networks), address)


@pytest.mark.parametrize(
    ("networks", "address"),
    [
        ([], "127.0.0.1"),
        (["10.0.0.1"], "10.0.0.2"),
        (["10.0.0.0/8"], "11.0.0.0"),
        (["0.0.0.0/0"], "::1"),
        (["::/0"], "127.0.0.1"),
        (["2001:db8::/32"], "2001:db9::"),
        (["0.0.0.0/0"], None),
        (["0.0.0.0/0"], ""),
        (["0.0.0.0/0"], "localhost"),
        (["0.0.0.0/0"], "10.0.0.1:80"),
        (["0.0.0.0/0"], "10.0.0.01"),
        (["0.0.0.0/0"], "10.0.0.1 10.0.0.2"),
        (["::/0"], "[::1]"),
        (["::/0"], "%eth0"),
        (["0.0.0.0/0"], "\u0661.1.1.1"),
    ],
)
def test_outside_and_invalid_addresses_are_not_contained(
    networks: list[str], address: str | None
) -> None:
    """Addresses outside the networks, and invalid ones, are not contained."""
    assert not contains(parse_networks(networks), address)


def test_loopback_is_ipv4_and_ipv6() -> None:
    """Loopback is 127.0.0.0/8 and ::1, and nothing else."""
    assert contains(LOOPBACK, "127.0.0.1")
    assert contains(LOOPBACK, "127.1.2.3")
    assert contains(LOOPBACK, "::1")
    assert contains(LOOPBACK, "::ffff:127.0.0.1")
    assert not contains(LOOPBACK, "128.0.0.1")
    assert not contains(LOOPBACK, "::2")


@pytest.mark.parametrize(
    ("client", "forwarded_for", "inside"),
    [
        ("127.0.0.1", None, True),
        ("203.0.113.9", None, False),
        (None, None, False),
        ("", None, False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1, ::1", True),
        ("127.0.0.1", "127.0.0.1,::1,127.0.0.2", True),
        ("127.0.0.1", "203.0.113.9", False),
        ("127.0.0.1", "203.0.113.9, 127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1, 203.0.113.9", False),
        ("203.0.113.9", "127.0.0.1", False),
        (None, "127.0.0.1", False),
        ("127.0.0.1", "unknown", False),
        ("127.0.0.1", "127.0.0.1,", False),
        ("127.0.0.1", "127.0.0.1:4711", True),
        ("127.0.0.1", "127.0.0.1:_port", True),
        ("127.0.0.1", "203.0.113.9:4711", False),
        ("127.0.0.1", "[::1]", True),
        ("127.0.0.1", "[::1]:443", True),
        ("127.0.0.1", "[::1%lo]:443", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "[::ffff:127.0.0.1]:80", True),
        ("127.0.0.1", "[2001:db8::1]:443", False),
        ("127.0.0.1", "[127.0.0.1]:80", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "::1]", False),
        ("127.0.0.1", "[::1]443", False),
        ("127.0.0.1", "[::1]:port", False),
        ("127.0.0.1", "127.0.0.1:", False),
        ("127.0.0.1", "127.0.0.1:\u0661", False),
        ("127.0.0.1", "127.0.0.1:4711:4711", False),
        ("127.0.0.1", ":4711", False),
        ("127.0.0.1", "_hidden", False),
        ("127.0.0.1", "unix", False),
        ("127.0.0.1", "127.0.0.1,,127.0.0.1", False),
        ("127.0.0.1", ",".join(["127.0.0.1"] * 100), True),
        ("127.0.0.1", ",".join(["127.0.0.1"] * 101), False),
        ("127.0.0.1:80", None, False),
        ("[::1]", None, False),
        ("unix", None, False),
    ],
)
def test_every_forwarded_hop_must_be_inside(
    client: str | None, forwarded_for: str | None, inside: bool
) -> None:
    """X-Forwarded-For can revoke access, but never grant it."""
    assert is_inside(LOOPBACK, client, forwarded_for) is inside


@pytest.mark.parametrize(
    ("header", "hops"),
    [
        ("for=192.0.2.60", "192.0.2.60"),
        ("For=192.0.2.60", "192.0.2.60"),
        ("FOR=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ("proto=https; host=example.com ; for=192.0.2.60", "192.0.2.60"),
        ('for="[2001:db8::1]:4711"', "[2001:db8::1]:4711"),
        ("for=[2001:db8::1]:4711", "[2001:db8::1]:4711"),
        ('for="192.0.2.60:47011"', "192.0.2.60:47011"),
        (r'for="\1\92.0.2.60"', "192.0.2.60"),
        (r'host="a\";for=::1,\\";for=192.0.2.60', "192.0.2.60"),
        ('for=192.0.2.43, for="[fd00::1]"', "192.0.2.43,[fd00::1]"),
        ("for=192.0.2.43,for=198.51.100.17;by=x", "192.0.2.43,198.51.100.17"),
        ("for=192.0.2.43;", "192.0.2.43"),
        ("\tfor = 192.0.2.43 ", "192.0.2.43"),
        ("for=unknown", "unknown"),
        ("for=_hidden", "_hidden"),
        ('for="_SEVKISEK"', "_SEVKISEK"),
        # Elements that name no client, or none that can be read.
        ("proto=https", "unknown"),
        ("for=192.0.2.43, proto=https", "unknown"),
        ("for=192.0.2.43,", "unknown"),
        (",for=192.0.2.43", "unknown"),
        (",", "unknown"),
        (";", "unknown"),
        ("=", "unknown"),
        ("for", "unknown"),
        ("for=", "unknown"),
        ("192.0.2.43", "unknown"),
        ("for=192.0.2.43;for=::1", "unknown"),
        ("for=192.0.2.43=1", "unknown"),
        ("for 192.0.2.43", "unknown"),
        ("for=192.0.2.43 198.51.100.17", "unknown"),
        ('for="192.0.2.43', "unknown"),
        ('for="192.0.2.43\\', "unknown"),
        ('for="192.0.2.43,192.0.2.43"', "unknown"),
        ('for=192.0.2.43"', "unknown"),
        ("for=192.0.2.43\r\n", "unknown"),
    ],
)
def test_forwarded_header_is_parsed(header: str, hops: str) -> None:
    """Each element of a Forwarded header (RFC 7239) gives one client or "unknown"."""
    assert read_hops({"Forwarded": header}.get) == hops


def test_all_proxy_headers_count_as_hops() -> None:
    """The addresses in all proxy headers count as hops."""
    for name in HOP_HEADERS:
        assert read_hops({name: "192.0.2.1" if name != "Forwarded" else "x"}.get)
    told = {
        "X-Forwarded-For": "192.0.2.1, 192.0.2.2",
        "Forwarded": "for=192.0.2.3",
        "CF-Connecting-IP": "192.0.2.4",
        "X-Real-IP": "",
        "Via": "192.0.2.5",
    }
    assert read_hops(told.get) == "192.0.2.1, 192.0.2.2,192.0.2.3,192.0.2.4"
    assert read_hops({}.get) == ""


@pytest.mark.parametrize(
    "part",
    [" ", "\t", '"', "\\", '"\\', ",", ";", "=", "for=1,", "a", '""', 'a="']
    + [":", "[", "]", "[:", "1.", "_"],
)
@pytest.mark.parametrize(
    "start", ["", "for=", 'for="', "for=::1,", "[", "for=[", "::1:_", "[::"]
)
def test_hostile_forwarded_values_take_linear_time(start: str, part: str) -> None:
    """Parsing a hostile header value takes linear time, without backtracking."""
    header = start + part * (MAX_LENGTH // len(part) - len(start))
    assert not is_inside(LOOPBACK, "127.0.0.1", read_hops({"Forwarded": header}.get))
    header *= 100
    assert not is_inside(LOOPBACK, "127.0.0.1", read_hops({"Forwarded": header}.get))
    assert not is_inside(LOOPBACK, "127.0.0.1", header)


@pytest.mark.parametrize(
    ("client", "server", "is_unix"),
    [
        (None, None, True),  # Daphne
        (None, ("/run/site.sock", None), True),  # uvicorn
        (("", "0"), ("/run/site.sock", "0"), True),  # granian
        (("", 0), ("/run/site.sock", 0), True),
        (["127.0.0.1", 4711], ["127.0.0.1", 8000], False),
        (("127.0.0.1", "4711"), ("127.0.0.1", "8000"), False),
        # A connection that was reset; uvicorn does not know its client.
        (None, ("127.0.0.1", 8000), False),
        (("", 0), ("127.0.0.1", 8000), False),
        # A server that takes the client's address from a header.
        (("unix", 0), ("127.0.0.1", 8000), False),
        (("203.0.113.9", 0), ("/run/site.sock", None), False),
        (["", 0], None, False),
        (["203.0.113.9", 0], None, False),
    ],
)
def test_tcp_client_is_not_taken_for_a_unix_socket(
    client: Any, server: Any, is_unix: bool
) -> None:
    """Without client address and server port, a connection is by a unix socket."""
    assert comes_by_unix_socket(client, server) is is_unix


def test_unix_allows_unix_sockets() -> None:
    """The word "unix" allows clients of unix sockets, alone or beside networks."""
    allowed = parse_allowed(["127.0.0.1", "unix"])
    assert allowed == parse_networks(["127.0.0.1"])
    assert allowed.unix
    assert parse_allowed(["unix"]) == ()
    assert not parse_allowed(["127.0.0.1"]).unix
    with pytest.raises(ValueError, match="does not appear to be"):
        parse_allowed(["Unix"])


def test_iterator_of_networks_is_used_for_each_hop() -> None:
    """An iterator of networks is used for all addresses of a request."""
    assert is_inside(iter(LOOPBACK), "127.0.0.1", "127.0.0.2, ::1")


@pytest.mark.parametrize(
    "address",
    ["localhost", "10.0.0.256", "10.0.0.0/33", "", "*", None, 5, b"10.0.0.1", "1.2.3"],
)
def test_invalid_addresses_raise_value_error(address: object) -> None:
    """A value that is neither address nor network raises ValueError with the value."""
    with pytest.raises(ValueError, match="does not appear to be"):
        parse_networks(["10.0.0.1", address])


class Anywhere:
    """An object as used in INTERNAL_IPS to show the debug page to every address."""

    def __contains__(self, address: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("internal_ips", "known"),
    [
        ([], ()),
        (["127.0.0.1"], ("127.0.0.1/32",)),
        (["localhost", "10.0.0.0/8", None, "::1"], ("10.0.0.0/8", "::1/128")),
        ({"::1": "home"}, ("::1/128",)),
        (Anywhere(), ()),
        (None, ()),
        ("127.0.0.1", ()),
    ],
)
def test_internal_ips_that_are_no_addresses_are_ignored(
    internal_ips: object, known: tuple[str, ...]
) -> None:
    """Host names, and objects that only support "in", are ignored in INTERNAL_IPS."""
    assert tuple(map(str, known_networks(internal_ips))) == known
