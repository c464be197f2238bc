"""The servers that a URL names: one Redis, those of Sentinel, or a cluster.

redis-py connects, with TLS and passwords, asks Sentinel, and knows which node of a
cluster has a key.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from pushserver.passwords import SecretText

from .connection import RedisPyConnection
from .errors import ConnectionLost, load

#: The address of a server, empty if there is only one.
Address = tuple[Any, ...]

#: The time limit in seconds for connecting to a server.
CONNECT_TIMEOUT = 2.0

# A URL of several hosts. urlsplit() of some Pythons refuses one with an IPv6 address
# that does not stand first.
_SEVERAL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://"
    r"(?P<user>([^/?#]*@)?)(?P<hosts>[^@/?#]*)(?P<path>[^?#]*)(?P<query>.*)"
)
_HOST = re.compile(r"(\[(?P<ipv6>[^\]]+)\]|(?P<name>[^:\[\]]+))(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class SeveralHosts:
    """The parts of a URL that names several hosts.

    Error pages show local variables, so ``repr()`` leaves out the parts that may hold a
    password.

    Attributes:
        scheme: ``redis`` or ``rediss``.
        kind: ``sentinel`` or ``cluster``.
        user: A user and a password with an @, or nothing.
        hosts: The hosts, with commas between them.
        path: What follows them.
        query: Options, with a question mark, or nothing.
    """

    scheme: str
    kind: str
    user: str = field(repr=False)
    hosts: str = field(repr=False)
    path: str = field(repr=False)
    query: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> SeveralHosts | None:
        """Return the parts of a URL, None if it names one host."""
        match = _SEVERAL.fullmatch(url)
        return None if match is None else cls(**match.groupdict())

    def single(self, path: str) -> str:
        """Return the URL of a single server that has the same password and options."""
        return SecretText(f"{self.scheme}://{self.user}localhost{path}{self.query}")


class Servers(ABC):
    """The servers that hold the channels of a store.

    Args:
        url: A URL that redis-py reads.

    Attributes:
        shards: The number of shards among which the channels are distributed. Each
            shard is on one server.
        sharded: Whether to use Redis's sharded pub/sub, which publishes a message only
            on the server of its shard.
        database: The number of the database. Topics are shared by all databases.

    Raises ``ImproperlyConfigured`` if redis-py or hiredis is missing, or if redis-py
    cannot use the URL.
    """

    shards = 1
    sharded = False

    def __init__(self, url: str) -> None:
        redis = load("redis.asyncio.connection")
        load("hiredis")  # Now, and not when the first connection is open.
        try:
            self._options: dict[str, Any] = {
                "socket_connect_timeout": CONNECT_TIMEOUT,
                # A unix socket has no such option.
                **({} if url.startswith("unix:") else {"socket_keepalive": True}),
                **redis.parse_url(url),
                "socket_timeout": None,  # Our own connection has a time limit.
                "protocol": 3,
            }
            self._class = self._options.pop("connection_class", redis.Connection)
            # redis-py ignores a path that is no number.
            self.database: int = self._options.get("db", 0)
            if url.startswith("redis") and urlsplit(url).path.strip("/0123456789"):
                raise ValueError
            if "@" in url.partition("?")[2]:
                raise ValueError  # The names of options would be parts of a password.
            self._try_options()
        except TypeError as error:
            # Not from the error: the variables in its traceback have the password.
            raise _unusable(f"cannot be used: {error}") from None
        except ValueError:
            # Its text may contain the part of a password before a slash.
            raise _unusable(
                "cannot be used. Its port and its database must be numbers, its options"
                " redis-py's; in a password write %2F for a slash, %23 for # and %3F"
                " for a question mark."
            ) from None

    def _try_options(self) -> None:
        """Check the options by making a connection, which is not opened.

        Options that are not for connections are taken out before. Raises ``TypeError``
        or ``ValueError``.
        """
        self.connection(())

    @abstractmethod
    async def find(self, key: str) -> Address:
        """Return the address of the server of a key, empty if there is only one."""

    def forget(self) -> None:  # noqa: B027
        """Forget which server has which key, because that may have changed."""

    def connection(self, address: Address) -> RedisPyConnection:
        """Return a connection to a server, not open yet."""
        options = self._options
        if address:
            host, port = address
            options = {**options, "host": host, "port": port}
        connection: RedisPyConnection = self._class(**options)
        return connection

    def _is_secure(self) -> bool:
        return bool(self._class.__name__.startswith("SSL"))


class OneServer(Servers):
    """One Redis: ``redis://``, ``rediss://`` or ``unix://``."""

    async def find(self, key: str) -> Address:
        return ()


class SentinelServers(Servers):
    """The master that Sentinel names.

    The URL is ``redis+sentinel://user:password@host:port,host:port/service/database``.
    The password of the sentinels themselves is its option ``sentinel_password``.

    Attributes:
        hosts: The hosts and ports of the sentinels.
        service: The name of the master.
        sentinel_options: The options of connections to sentinels.
    """

    def __init__(self, url: SeveralHosts) -> None:
        self.hosts = _check_hosts(_read_hosts(url.hosts, 26379))
        self.service: str
        self.service, _, database = url.path.strip("/").partition("/")
        if not self.service:
            raise _unusable(
                "has no name of a service after the hosts, as in"
                " redis+sentinel://host:26379,host:26379/service/0."
            )
        super().__init__(url.single(f"/{database}"))

    def _try_options(self) -> None:
        self.sentinel_options = {
            "socket_timeout": CONNECT_TIMEOUT,
            "username": self._options.pop("sentinel_username", None),
            "password": self._options.pop("sentinel_password", None),
            **{name: self._options[name] for name in self._options if "ssl" in name},
            "ssl": self._is_secure(),
        }
        super()._try_options()

    async def find(self, key: str) -> Address:
        sentinel = load("redis.asyncio").Sentinel(
            self.hosts, sentinel_kwargs=self.sentinel_options
        )
        try:
            host, port = await sentinel.discover_master(self.service)
        except load("redis.exceptions").ConnectionError:
            # Its text lists the sentinels' options, in some redis-py with the password.
            raise ConnectionLost(
                f"No sentinel names a master of {self.service!r}."
            ) from None
        finally:
            for client in sentinel.sentinels:
                await client.aclose()
        return (host, port)


class ClusterServers(Servers):
    """The masters of a cluster: ``redis+cluster://host:port,host:port``.

    Attributes:
        hosts: The hosts and ports of the known servers.
    """

    shards = 256
    sharded = True

    def __init__(self, url: SeveralHosts) -> None:
        self.hosts = _check_hosts(_read_hosts(url.hosts, 6379))
        self._cluster: Any = None
        self._asking = asyncio.Lock()
        super().__init__(url.single(""))

    def _try_options(self) -> None:
        super()._try_options()
        self._make_cluster()

    def _make_cluster(self) -> Any:
        redis = load("redis.asyncio.cluster")
        options = {**self._options, "socket_timeout": CONNECT_TIMEOUT}
        for name in ("host", "port", "db"):
            options.pop(name, None)
        if self._is_secure():
            options["ssl"] = True
        nodes = [redis.ClusterNode(host, port) for host, port in self.hosts]
        return redis.RedisCluster(startup_nodes=nodes, **options)

    async def find(self, key: str) -> Address:
        async with self._asking:
            cluster = self._cluster = self._cluster or await self._ask_cluster()
        node = cluster.get_node_from_key(key)
        if node is None:
            raise ConnectionLost(f"No server of the cluster has the key {key}.")
        return (node.host, node.port)

    def forget(self) -> None:
        self._cluster = None

    async def _ask_cluster(self) -> Any:
        """Return a client that has asked the cluster which node has which keys."""
        cluster = self._make_cluster()
        try:
            await cluster.initialize()
        finally:
            await cluster.aclose()  # Its nodes remain known.
        # The nodes that the URL names may be gone when the cluster is asked again.
        known = [(node.host, node.port) for node in cluster.get_nodes()]
        self.hosts = list(dict.fromkeys([*self.hosts, *known]))
        return cluster


def find_servers(url: str) -> Servers:
    """Return the servers that a URL names. Raises ``ImproperlyConfigured``."""
    several = SeveralHosts.parse(url)
    if several is None:
        return OneServer(SecretText(url))
    if several.kind == "sentinel":
        return SentinelServers(several)
    return ClusterServers(several)


def _read_hosts(text: str, default_port: int) -> list[tuple[str, int]] | None:
    """Return the hosts and ports in a URL, None if one of them is malformed."""
    hosts = []
    for each in text.split(","):
        host = _HOST.fullmatch(each)
        port = 0 if host is None else int(host["port"] or default_port)
        if host is None or port not in range(1, 65536):
            return None
        hosts.append((host["ipv6"] or host["name"], port))
    return hosts


def _check_hosts(hosts: list[tuple[str, int]] | None) -> list[tuple[str, int]]:
    """Return hosts that could be read. Raises ``ImproperlyConfigured``."""
    if hosts is None:
        # The error does not say which one: that may be the beginning of a password.
        raise _unusable(
            "does not name hosts with their ports, as in host:6379,host:6379; write"
            " %2F for a slash in a password."
        )
    return hosts


def _unusable(reason: str) -> ImproperlyConfigured:
    """Return the error for the URL of a store."""
    # The error does not contain the URL: that may hold a password.
    return ImproperlyConfigured(f"The URL of a store of the type 'redis' {reason}")
