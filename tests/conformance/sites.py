"""A server as the conformance tests see it: URLs, and a new channel for each test.

Nothing here depends on what is behind the URLs, so the tests can be run on any server
with the protocol.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.servers import wait_until

#: URL paths by role; each role is also an option.
ROLES = {
    "publisher": "publishes",
    "subscriber": "long poll; a GET creates the channel",
    "interval": "interval poll on the same channels",
    "last": "long poll that ends older ones with 409, on the same channels",
    "first": "long poll that is refused with 409 beside another, on the same channels",
    "timed": "long poll that ends after a second or so, on the same channels",
    "existing": "long poll that creates no channel, on the same channels",
    "unstored": "publishes on the same channels and keeps nothing",
    "known": "publishes on the same channels and creates none",
    "cors": "long poll for pages of --origin with cookies, on the same channels",
    "few-publisher": "publishes on channels that keep three messages",
    "few-subscriber": "long poll on channels that keep three messages",
    "brief-publisher": "publishes on channels that keep a message for a second",
    "brief-subscriber": "long poll on channels that keep a message for a second",
}
PUBLISHERS = [role for role in ROLES if "publishes" in ROLES[role]]

#: Seconds after which an answer that is due at once counts as missing.
TIMEOUT = 10.0

Headers = dict[str, str]


@dataclass
class Answer:
    """A response as it was on the wire."""

    status_line: str
    fields: list[tuple[str, str]]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.status_line.split()[1])

    @cached_property
    def headers(self) -> httpx.Headers:
        return httpx.Headers(self.fields)

    @property
    def text(self) -> str:
        return self.body.decode()


class Wire:
    """A connection for requests and responses on the wire.

    Args:
        server: The base URL.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        url = urlsplit(server)
        self.host = url.netloc
        self._socket = socket.create_connection(
            (url.hostname or "", url.port or 80), timeout=TIMEOUT
        )
        self._file = self._socket.makefile("rb")
        self._is_asking = False
        self._method = ""

    def send(self, method: str, path: str, *lines: str, body: bytes = b"") -> None:
        """Send a request with these headers, and do not wait for the response."""
        self._method, self._is_asking = method, True
        head = "\r\n".join(
            [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *lines, "", ""]
        )
        self._socket.sendall(head.encode("latin-1") + body)

    @property
    def is_answered(self) -> bool:
        """Whether a byte of a response, or the end of the connection, has arrived."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            return bool(selector.select(0))

    @property
    def is_held(self) -> bool:
        """Whether the request has no response yet."""
        return self._is_asking and not self.is_answered

    def answer(self) -> Answer:
        """Wait for the response and return it."""
        status_line = self._line()
        fields = []
        while line := self._line():
            name, _, value = line.partition(":")
            fields.append((name, value.strip()))
        answer = Answer(status_line, fields, b"")
        self._is_asking = False
        return Answer(status_line, fields, self._body(answer))

    def _line(self) -> str:
        line = self._file.readline()
        if not line:
            raise AssertionError("The server closed the connection without an answer.")
        return line.decode("latin-1").rstrip("\r\n")

    def _body(self, answer: Answer) -> bytes:
        if self._method == "HEAD" or answer.status in (204, 304):
            return b""
        if "chunked" in answer.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self._line(), 16):
                parts.append(self._file.read(size))
                self._line()
            self._line()
            return b"".join(parts)
        if "Content-Length" in answer.headers:
            return self._file.read(int(answer.headers["Content-Length"]))
        return self._file.read()

    def close(self) -> None:
        self._is_asking = False
        self._file.close()
        self._socket.close()


class Client:
    """Sends requests that are answered at once, on one connection per server."""

    def __init__(self) -> None:
        self._wires: dict[str, Wire] = {}

    def request(
        self,
        method: str,
        server: str,
        path: str,
        headers: Headers | None = None,
        body: bytes = b"",
    ) -> Answer:
        wire = self._wires.get(server)
        if wire is None or wire.is_answered:  # EOF means the end of the connection.
            if wire is not None:
                wire.close()
            wire = self._wires[server] = Wire(server)
        fields = dict(headers or {})
        if body or method in ("POST", "PUT"):
            fields["Content-Length"] = str(len(body))
        # Keep the connection for the next request if there is no error.
        del self._wires[server]
        wire.send(method, path, *_lines(fields), body=body)
        answer = wire.answer()
        if answer.headers.get("Connection") == "close":
            wire.close()
        else:
            self._wires[server] = wire
        return answer

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()
        self._wires.clear()


def _lines(headers: Headers) -> list[str]:
    return [f"{key}: {value}" for key, value in headers.items()]


@dataclass(frozen=True)
class Site:
    """A server under test.

    Attributes:
        name: The name in the summary.
        servers: Base URLs; several URLs are processes that share a store.
        paths: Templates with ``{channel}``, by role.
        origin: An origin whose pages may subscribe at the role ``cors``.
        heard: The path at which the tests' own site reports the passthrough requests.
        lags: Whether a process learns of requests to other processes with a delay.
    """

    name: str
    servers: tuple[str, ...]
    paths: dict[str, str]
    origin: str | None = None
    heard: str | None = None
    lags: bool = False


class Relay:
    """A server under test, with one new channel.

    With several processes, the publisher uses the first one and subscribers use each in
    turn, beginning with the second one.

    Args:
        site: The server.
        client: Sends the requests that are answered at once.
    """

    def __init__(self, site: Site, client: Client) -> None:
        self.site = site
        self.channel = f"conformance-{uuid4().hex}"
        self._client = client
        self._subscriber_servers = cycle(reversed(site.servers))
        self._roles: set[str] = set()
        self._wires: list[Wire] = []
        self._others: list[Relay] = []

    # URLs

    def path(self, role: str = "subscriber") -> str:
        """Return the path of a role; skip the test if the server has none."""
        if role not in self.site.paths:
            pytest.skip(f"--{role} is not given")
        return self.site.paths[role].replace("{channel}", quote(self.channel, safe=""))

    def server(self, role: str = "subscriber") -> str:
        """Return the base URL for the next request of a role."""
        if role in PUBLISHERS:
            return self.site.servers[0]
        return next(self._subscriber_servers)

    def other(self) -> Relay:
        """Return the same server with another channel."""
        relay = Relay(self.site, self._client)
        self._others.append(relay)
        return relay

    # Requests that are answered at once

    def request(
        self, method: str, role: str, headers: Headers | None = None, body: bytes = b""
    ) -> Answer:
        path = self.path(role)
        self._roles.add(role)
        server = self.server(role)
        answer = self._client.request(method, server, path, headers, body)
        if self.site.lags and (method != "GET" or role not in PUBLISHERS):
            store, _, kind = role.rpartition("-")
            publisher = f"{store}-publisher" if kind and store else "publisher"
            wait_until(lambda: self._all_know_the_same(publisher), TIMEOUT)
        return answer

    def _all_know_the_same(self, role: str) -> bool:
        infos = self._infos(role).values()
        known = [(each.get("messages"), each.get("last_message_id")) for each in infos]
        return len(set(known)) == 1

    def _infos(self, role: str = "publisher") -> dict[str, dict[str, object]]:
        """Return the channel info of each process; empty if there is no channel."""
        infos = {}
        for server in self.site.servers:
            asked = ("GET", server, self.path(role), {"Accept": "text/json"})
            answer = self._client.request(*asked)
            infos[server] = read_info(answer) if answer.status == 200 else {}
        return infos

    def publish(
        self,
        body: bytes = b"news",
        content_type: str | None = "text/plain",
        role: str = "publisher",
    ) -> Answer:
        """POST a message."""
        headers = {} if content_type is None else {"Content-Type": content_type}
        return self.request("POST", role, headers, body)

    def get(
        self,
        role: str = "subscriber",
        after: Answer | None = None,
        headers: Headers | None = None,
    ) -> Answer:
        """GET the message after an earlier response, or the oldest one."""
        return self.request("GET", role, {**name(after), **(headers or {})})

    def info(self, role: str = "publisher") -> dict[str, object]:
        """Return the channel info; empty if there is no channel."""
        answer = self.request("GET", role, {"Accept": "text/json"})
        return read_info(answer) if answer.status == 200 else {}

    def heard(self) -> list[dict[str, object]]:
        """Return the passthrough requests for the channel, in order."""
        if self.site.heard is None:
            pytest.skip(
                "what passthrough told can be known of the tests' own site only"
            )
        told: list[dict[str, object]] = []
        for server in self.site.servers:
            path = f"{self.site.heard}?channel={quote(self.channel, safe='')}"
            answer = self._client.request("GET", server, path)
            told += json.loads(answer.body)["heard"]
        return told

    # Requests that are held

    def hold(
        self,
        role: str = "subscriber",
        after: Answer | None = None,
        headers: Headers | None = None,
    ) -> Wire:
        """Send a GET that may be held, and do not wait for the response."""
        path = self.path(role)
        wire = self.wire(role)
        fields = {**name(after), **(headers or {})}
        wire.send("GET", path, *_lines(fields))
        return wire

    def wire(self, role: str = "subscriber") -> Wire:
        """Return a connection without a request."""
        wire = Wire(self.server(role))
        self._wires.append(wire)
        return wire

    def wait_until_held(self, count: int = 1, role: str = "publisher") -> None:
        """Wait until the channel info shows this number of held requests."""
        wait_until(lambda: self.are_held(count, role), TIMEOUT)

    def are_held(self, count: int, role: str = "publisher") -> bool:
        """Return whether this number of requests is held.

        With several processes, each has to count its own requests; another test checks
        whether it counts those of the others.
        """
        infos = self._infos(role)
        if len(infos) > 1 and count:
            own = Counter(each.server for each in self._wires if each.is_held)
            return own.total() == count and all(
                int(str(info.get("subscribers", -1))) >= own[server]
                for server, info in infos.items()
            )
        return {each.get("subscribers", 0) for each in infos.values()} == {count}

    def is_any_held(self, role: str = "publisher") -> bool:
        """Return whether any process reports held requests."""
        return any(each.get("subscribers") for each in self._infos(role).values())

    def hang_up(self) -> None:
        """Close all connections."""
        for wire in self._wires:
            wire.close()

    def close(self) -> None:
        """Close all connections and delete the channel."""
        self.hang_up()
        for role in self._roles & {"few-publisher", "brief-publisher"}:
            self.request("DELETE", role)
        self.request("DELETE", "publisher")
        for other in self._others:
            other.close()


class Early:
    """Long operations: a message that expires and a poll that times out.

    Attributes:
        relay: The server, with a channel for both.
        young: The message of the role ``brief``, as it was received at once.
        seen: The message whose id the poll of the role ``timed`` has.
        timed: The connection of that poll.
    """

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.young: Answer | None = None
        self.seen: Answer | None = None
        self.timed: Wire | None = None
        if {"brief-publisher", "brief-subscriber"} <= set(relay.site.paths):
            relay.publish(b"old", role="brief-publisher")
            self.young = relay.get("brief-subscriber")
        if "timed" in relay.site.paths:
            relay.publish(b"old")
            self.seen = relay.get()
            self.timed = relay.hold("timed", after=self.seen)


def name(answer: Answer | None) -> Headers:
    """Return the request headers with the id of a response."""
    if answer is None:
        return {}
    return {
        "If-Modified-Since": answer.headers["Last-Modified"],
        "If-None-Match": answer.headers["Etag"],
    }


def read_info(answer: Answer) -> dict[str, object]:
    """Parse channel info as JSON or plain text; a server may add more."""
    try:
        info = json.loads(answer.text)
    except ValueError:
        found = re.findall(r"^(queued|active) \w+: (\d+)", answer.text, re.MULTILINE)
        kinds = {"queued": "messages", "active": "subscribers"}
        info = {kinds[kind]: int(number) for kind, number in found}
    return info if isinstance(info, dict) else {}
