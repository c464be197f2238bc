"""The limits on what one client can use, in nginx configurations that are printed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest

from pushserver.nginx import Configuration, Options, ProxyConfiguration, limits

from .conformance.servers import Nginx, configuration
from .live.wire import Answer, Wire, publish, request
from .nginx import KINDS, PUBLISHER, SUBSCRIBER, write
from .servers import daphne
from .waiting import until

EVENTS = "Accept: text/event-stream"

LOCATIONS: list[dict[str, Any]] = [
    {"type": "publisher", "url": "/send-update/([^/]+)"},
    {**SUBSCRIBER, "timeout": 30},
    {**SUBSCRIBER, "url": "/interval/([^/]+)", "polling": "interval"},
    {**SUBSCRIBER, "url": "/told/([^/]+)", "passthrough": "/passthrough"},
]

#: Makes nginx take what a header says for the address of the client.
REAL_IP = "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;"


@contextmanager
def serving(
    kind: str, edit: Callable[[str], str] = str, **settings: Any
) -> Iterator[Nginx]:
    """Run an nginx with Nchan, or one in front of a Daphne with the same settings.

    Args:
        kind: ``nchan`` or ``proxy``.
        edit: Changes the configuration.
        settings: More settings.
    """
    conf = {"locations": LOCATIONS, **settings}
    with daphne(conf) as server:
        arguments = ["--django", f"127.0.0.1:{server.port}", "--workers", "1"]
        if kind == "proxy":
            arguments.append("--proxy")

        def configure(port: int, directory: Path) -> str:
            text = configuration(
                conf,
                *("--listen", f"127.0.0.1:{port}", "--user", getuser()),
                *("--run-dir", str(directory), "--log-dir", str(directory)),
                *arguments,
            )
            return edit(text)

        with Nginx(configure) as nginx:
            yield nginx


def believe_forwarded(text: str) -> str:
    return text.replace("http {", "http {\n" + REAL_IP, 1)


async def hold(nginx: Nginx, path: str, *headers: str) -> Wire:
    """Return the connection of a poll that is held."""
    wire = await Wire.open(nginx.port)
    await wire.send(request("GET", path, *headers))
    return wire


async def ask(nginx: Nginx, path: str, *headers: str, **body: Any) -> Answer:
    """Return the response to a request."""
    async with await Wire.open(nginx.port) as wire:
        return await wire.ask("GET", path, *headers, **body)


async def until_refused(nginx: Nginx, path: str, *headers: str) -> Answer:
    """Return the refusal of a request, once all that is allowed is held."""
    found: list[Answer] = []

    async def is_refused() -> bool:
        async with await Wire.open(nginx.port) as wire:
            await wire.send(request("GET", path, *headers))
            try:
                answer = await asyncio.wait_for(wire.answer(), 0.2)
            except asyncio.TimeoutError:
                return False  # It was held.
            found.append(answer)
            return answer.status == 429

    await until(is_refused)
    return found[-1]


@pytest.mark.process
@pytest.mark.parametrize("path", ["/updates/a", "/told/a"])
@pytest.mark.parametrize("kind", ["nchan", "proxy"])
async def test_one_client_holds_a_limited_number(kind: str, path: str) -> None:
    """A client over its limit is refused by nginx, until one of its polls ends."""
    options = {"max_held_per_client": 3, "trusted_proxies": ["127.0.0.1"]}
    # The clients of this test ask for more than a few requests a second.
    with serving(
        kind, lambda text: text.replace("r/s;", "0000r/s;"), **options
    ) as nginx:
        wires = [await hold(nginx, path) for _ in range(3)]
        refused = await until_refused(nginx, path)
        assert refused["retry-after"] == "5"
        assert refused["content-type"] == "text/plain"
        assert refused.body.startswith(b"Your address has too many subscriptions")
        stream = await ask(nginx, path, EVENTS)
        assert stream.status == 200
        assert stream["content-type"] == "text/event-stream"
        assert stream.body == (
            b'retry: 5000\nevent: push-unavailable\ndata: {"retry_after": 5}\n\n'
        )
        assert await publish(nginx.port, "b") == 202
        assert (await ask(nginx, "/interval/a")).status == 429
        wires[0].abort()

        async def is_free() -> bool:
            return (await ask(nginx, "/interval/a")).status == 304

        await until(is_free)
        assert await publish(nginx.port, "a") == 201
        for wire in wires[1:]:
            assert (await wire.answer()).body == b"news"
            wire.abort()


@pytest.mark.process
@pytest.mark.parametrize("kind", ["nchan", "proxy"])
async def test_pages_of_other_origins_can_read_a_refusal(kind: str) -> None:
    """A refusal has the CORS headers of its location, or an EventSource would end."""
    page = "http://page.test"
    credentials = {"allow_origin": [page, "http://two.test"], "allow_credentials": True}
    locations = [
        LOCATIONS[0],
        {**SUBSCRIBER, "timeout": 30},
        {**SUBSCRIBER, "url": "/shared/([^/]+)", "allow_origin": "*"},
        {**SUBSCRIBER, "url": "/named/([^/]+)", **credentials},
        {**LOCATIONS[3], **credentials},
    ]
    options = {"max_held_per_client": 1, "trusted_proxies": ["127.0.0.1"]}
    with serving(
        kind,
        lambda text: text.replace("r/s;", "0000r/s;"),
        **options,
        locations=locations,
    ) as nginx:
        held = await hold(nginx, "/updates/a")
        await until_refused(nginx, "/updates/a")
        for path, origin, allowed in (
            ("/updates/a", page, (None, None)),
            ("/shared/a", page, ("*", None)),
            ("/named/a", page, (page, "true")),
            ("/told/a", page, (page, "true")),
            ("/named/a", "http://other.test", (None, "true")),
        ):
            for accept in ("Accept: */*", EVENTS):
                answer = await ask(nginx, path, accept, f"Origin: {origin}")
                assert answer.status == (200 if accept is EVENTS else 429)
                named = "access-control-allow-"
                got = answer[f"{named}origin"], answer[f"{named}credentials"]
                assert got == allowed, path
                assert answer["vary"] == "Origin"
        held.abort()


@pytest.mark.process
@pytest.mark.parametrize("limit", [1, None])
async def test_clients_are_addresses_and_ipv6_networks(
    limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IPv4 address or a /64 of IPv6 is a client; by default, a public one."""
    monkeypatch.setattr(limits, "MAX_HELD_PER_CLIENT", 1)
    options = {} if limit is None else {"max_held_per_client": limit}

    def edit(text: str) -> str:
        return believe_forwarded(text).replace("rate=1r/s", "rate=9000r/s")

    def forwarded(address: str) -> str:
        return f"X-Forwarded-For: {address}"

    with serving("proxy", edit, **options, trusted_proxies=["127.0.0.1"]) as nginx:
        wires = [
            await hold(nginx, "/updates/a", forwarded(each))
            for each in ("8.8.8.8", "2600:1901::1", "10.0.0.1", "fd00::1")
        ]
        for refused in ("8.8.8.8", "::ffff:8.8.8.8", "2600:1901::ff:1"):
            await until_refused(nginx, "/updates/a", forwarded(refused))
        for other in ("8.8.4.4", "2600:1901:0:1::1"):
            answer = await ask(nginx, "/interval/b", forwarded(other))
            assert answer.status == 304, other
        for private in ("10.0.0.1", "fd00::1"):
            if limit is not None:
                await until_refused(nginx, "/updates/a", forwarded(private))
            else:
                answer = await ask(nginx, "/interval/b", forwarded(private))
                assert answer.status == 304, private
        for wire in wires:
            wire.abort()


@pytest.mark.process
@pytest.mark.parametrize("kind", ["nchan", "proxy"])
async def test_requests_that_subscribe_are_small_and_not_too_many(kind: str) -> None:
    """nginx refuses long bodies, and too many requests a second of one client."""
    options = {"max_held_per_client": 20, "trusted_proxies": ["127.0.0.1"]}
    with serving(kind, **options) as nginx:
        for path in ("/updates/a", "/interval/a", "/told/a"):
            assert (await ask(nginx, path, body=b"x" * 1025)).status == 413
        assert (await ask(nginx, "/interval/a", body=b"x" * 1024)).status == 304
        statuses = [(await ask(nginx, "/interval/a")).status for _ in range(200)]
        assert statuses[:10] == [304] * 10
        assert 429 in statuses


@pytest.mark.process
@pytest.mark.left_to_all("heads that dribble")
@pytest.mark.parametrize("kind", ["nchan", "proxy"])
async def test_heads_that_dribble_are_ended(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx ends a connection whose head arrives byte by byte."""
    monkeypatch.setattr(limits, "HEADER_TIMEOUT", 1)
    with serving(kind) as nginx:
        async with await Wire.open(nginx.port) as wire:
            await wire.send(request("GET", "/updates/a")[:-2] + b"X: ")
            reading = asyncio.ensure_future(wire.rest())

            async def has_ended() -> bool:
                await wire.send(b"a")
                return reading.done()

            await until(has_ended, interval=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_limit_there_are_only_timeouts(kind: type[Configuration]) -> None:
    """If clients have no limit, there is none in nginx."""
    text, _ = write(kind, locations=[PUBLISHER, SUBSCRIBER], max_held_per_client=0)
    assert "limit_conn" not in text
    assert "limit_req" not in text
    assert "error_page" not in text
    for line in (
        "client_header_timeout 10s;",
        "client_body_timeout 30s;",
        "client_max_body_size 1024;",
    ):
        assert line in text


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_limit(kind: type[Configuration]) -> None:
    """By default a public address may hold 1,000 requests."""
    text, warnings = write(kind, locations=[PUBLISHER, SUBSCRIBER])
    assert "limit_conn push_held 1000;" in text
    assert "zone=push_requests:10m rate=1000r/s;" in text
    assert "limit_req zone=push_requests burst=1000 nodelay;" in text
    assert "geo $push_is_private {" in text
    text, _ = write(kind, locations=[PUBLISHER, SUBSCRIBER], max_held_per_client=50)
    assert "limit_conn push_held 50;" in text
    assert "geo" not in text


@pytest.mark.parametrize(
    ("trusted", "server", "missing"),
    [
        ([], "127.0.0.1:8000", "127.0.0.1"),
        (["10.0.0.1"], "localhost:8000", "127.0.0.1"),
        ([], "[::1]:8000", "::1"),
        ([], "unix:/run/daphne.sock", "'unix'"),
        (["127.0.0.0/8"], "127.0.0.1:8000", None),
        (["unix"], "unix:/run/daphne.sock", None),
        # The address of nginx as that machine sees it is not known.
        ([], "10.0.0.9:8000", None),
    ],
)
def test_proxy_that_is_not_trusted_is_a_warning(
    trusted: list[str], server: str, missing: str | None
) -> None:
    """There is a warning if the push server does not believe this nginx."""
    conf: dict[str, Any] = {
        "locations": [{**PUBLISHER, "allow_from": "any"}, SUBSCRIBER],
        "trusted_proxies": trusted,
    }
    options = Options(django=server)
    _, warnings = write(ProxyConfiguration, options, **conf, max_held_per_client=50)
    assert len(warnings) == (missing is not None)
    if missing is not None:
        assert f"'trusted_proxies'] does not hold {missing}, so" in warnings[0]
    # By default private addresses have no limit in the push server.
    assert write(ProxyConfiguration, options, **conf)[1] == []


def test_max_held_has_no_counterpart_in_nchan() -> None:
    """nginx with Nchan limits only its connections as a whole."""
    conf = {"locations": [PUBLISHER, SUBSCRIBER], "max_held": 100}
    _, warnings = write(**conf)
    assert any("['max_held'] has no counterpart" in each for each in warnings)
    assert write(ProxyConfiguration, **conf)[1] == []
