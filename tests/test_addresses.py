from __future__ import annotations

import pytest

from pushserver.addresses import (
    LOOPBACK,
    contains,
    is_inside,
    known_networks,
    parse_networks,
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
def test_an_address_in_one_of_the_networks_is_contained(
    networks: list[str], address: str
) -> None:
    """Addresses and networks of both families hold what they name, however written."""
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
def test_what_is_not_in_the_networks_or_no_address_is_not_contained(
    networks: list[str], address: str | None
) -> None:
    """An address of another network, no address and what is none are outside."""
    assert not contains(parse_networks(networks), address)


def test_loopback_is_both_families() -> None:
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
        ("127.0.0.1", "127.0.0.1:4711", False),
    ],
)
def test_each_hop_of_a_forwarded_request_has_to_be_inside(
    client: str | None, forwarded_for: str | None, inside: bool
) -> None:
    """X-Forwarded-For takes rights away and never gives any."""
    assert is_inside(LOOPBACK, client, forwarded_for) is inside


def test_networks_given_once_are_asked_for_each_hop() -> None:
    """An iterator of networks lasts for all the addresses of a request."""
    assert is_inside(iter(LOOPBACK), "127.0.0.1", "127.0.0.2, ::1")


@pytest.mark.parametrize(
    "address",
    ["localhost", "10.0.0.256", "10.0.0.0/33", "", "*", None, 5, b"10.0.0.1", "1.2.3"],
)
def test_what_is_no_address_cannot_be_parsed(address: object) -> None:
    """A text that is neither address nor network is a ValueError that shows it."""
    with pytest.raises(ValueError, match="does not appear to be"):
        parse_networks(["10.0.0.1", address])


class Anywhere:
    """What sites put into INTERNAL_IPS to have the debug page everywhere."""

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
def test_internal_ips_are_taken_as_far_as_they_are_addresses(
    internal_ips: object, known: tuple[str, ...]
) -> None:
    """Host names, and objects that only know "in", are left out of the networks."""
    assert tuple(map(str, known_networks(internal_ips))) == known
