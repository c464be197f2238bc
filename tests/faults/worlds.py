"""Servers and stores for testing faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from operator import ge
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from tests import http
from tests.proxies import Proxy
from tests.servers import ServerProcess, daphne, wait_until
from tests.valkey import Cluster, Sentinel, Valkey, replicate

LOCATIONS: tuple[dict[str, Any], ...] = (
    {"type": "publisher", "url": "/send-update/([^/]+)"},
    {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True},
)


def find_faketime() -> str:
    """Return the library that can set the clock of a process."""
    for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1"):
        return str(path)
    raise Missing("libfaketime is not installed: apt-get install libfaketime")


class Missing(Exception):
    """A required program is missing; the text says which command installs it."""


class World:
    """Daphne processes with one store, as a context manager.

    Args:
        store: ``redis``, ``channel_layer`` (over Redis) or ``memory``.
        servers: The number of processes.
        persistent: Whether Valkey's data survive a restart.
        cuttable: Whether a proxy is between the processes and Valkey.
        cuts_one: Whether it is only between the first process and Valkey.
        servers_of: ``sentinel`` or ``cluster``, for more than one Valkey.
        clock: Whether the clock can be set: Valkey's, or the process's own with a store
            in memory.
    """

    locations: Sequence[dict[str, Any]] = LOCATIONS
    application: ClassVar[str] = "tests.asgi:application"
    servers: list[ServerProcess]
    valkey: Valkey
    proxy: Proxy
    cluster: Cluster
    #: Returns how many messages each publisher has sent, accepted or not.
    count_attempts: Callable[[], list[int]]
    #: The channels that the publishers publish at.
    channels: Sequence[str] = ()

    def __init__(
        self,
        store: str,
        *,
        servers: int = 2,
        persistent: bool = False,
        cuttable: bool = False,
        cuts_one: bool = False,
        servers_of: str = "",
        clock: bool = False,
    ) -> None:
        self.store = store
        self.count = 1 if store == "memory" else servers
        self.persistent = persistent
        self.cuttable = cuttable or cuts_one
        self.cuts_one = cuts_one
        self.servers_of = servers_of
        self.clock = clock
        if clock:
            find_faketime()

    def __enter__(self) -> World:
        with ExitStack() as stack:
            self.directory = Path(stack.enter_context(TemporaryDirectory()))
            self._clock_file = self.directory / "clock"
            self.set_clock(0)
            url = "" if self.store == "memory" else self._start_redis(stack)
            urls = [url] * self.count
            if self.cuts_one:
                urls[1:] = [self.valkey.url] * (self.count - 1)
            self.servers = [self._make_server(each) for each in urls]
            with ThreadPoolExecutor() as threads:
                # Each process takes a second to start.
                list(threads.map(stack.enter_context, self.servers))
            for server in self.servers:
                # Over a channel layer, a process joins with its first request.
                http.get(f"{server.url}/send-update/nobody")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def let_publish(self, times: int) -> None:
        """Wait until each publisher has sent this number of further messages."""
        enough = [count + times for count in self.count_attempts()]
        wait_until(lambda: all(map(ge, self.count_attempts(), enough)))

    def set_clock(self, seconds: float) -> None:
        """Set the clock ahead by a number of seconds."""
        self._clock_file.write_text(f"{seconds:+g}")

    def _start_redis(self, stack: ExitStack) -> str:
        """Start the Redis servers and return their URL."""
        if self.servers_of == "cluster":
            self.cluster = stack.enter_context(Cluster(replicas=True))
            return self.cluster.url
        self.valkey = Valkey(persistent=self.persistent)
        if self.clock:
            self.valkey.env.update(self._clock_environment())
        stack.enter_context(self.valkey)
        # The store is marked as old, so that lost ids are recognized as old.
        with self.valkey.client() as client:
            run_id = client.info("server")["run_id"]
            client.set("pushserver:{00}:mark", f"1 {run_id}")
        if self.servers_of == "sentinel":
            replica = stack.enter_context(Valkey())
            replicate(replica, self.valkey)
            sentinel = stack.enter_context(Sentinel(self.valkey))
            sentinel.wait_until_replicas(1)
            return sentinel.url
        if self.cuttable:
            self.proxy = stack.enter_context(Proxy(self.valkey.port))
            return f"redis://127.0.0.1:{self.proxy.port}/0"
        return self.valkey.url

    def _make_server(self, url: str) -> ServerProcess:
        store: dict[str, Any] = {"type": self.store, "message_timeout": 7200}
        env = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
        if self.store == "redis":
            store["url"] = url
        elif self.store == "channel_layer":
            if find_spec("channels_redis") is None:
                raise Missing(
                    "channels_redis is not installed: pip install channels_redis"
                )
            layer = {
                "BACKEND": "channels_redis.core.RedisChannelLayer",
                "CONFIG": {"hosts": [url]},
            }
            env["TEST_CHANNEL_LAYERS"] = json.dumps({"default": layer})
            # On a busy machine the layer takes longer to deliver a message.
            env["TEST_TRANSIT_TIME"] = "3"
        elif self.clock:
            env |= self._clock_environment()
        conf = {"store": store, "locations": self.locations}
        return daphne(conf, self.application, **env, **self.find_environment())

    def find_environment(self) -> dict[str, str]:
        """Return further environment variables of the servers."""
        return {}

    def _clock_environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": find_faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
            "FAKETIME_NO_CACHE": "1",
            # Only the time of day is faked, not the monotonic clock.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
