from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import LazySettings

from pushserver_channels import address_claims
from pushserver_channels.address_claims import AddressClaims
from tests.waiting import until

Logged = pytest.LogCaptureFixture


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address at which all processes of a test seem to listen, without delays."""
    address = f"test-{uuid.uuid4().hex}"
    monkeypatch.setattr(address_claims, "find_listeners", lambda: iter([(0, address)]))
    monkeypatch.setattr(address_claims, "GRACE_PERIOD", 0.01)
    monkeypatch.setattr(address_claims, "START_DELAY", 0.0)
    return address


@pytest.fixture
def processes(address: str) -> Iterator[list[AddressClaims]]:
    """Four processes, each represented by its claims."""
    processes = [AddressClaims() for _ in range(4)]
    yield processes
    for each in processes:
        each.release()


def told(caplog: Logged) -> list[str]:
    return [
        each.getMessage()
        for each in caplog.records
        if each.name == address_claims.logger.name and each.levelno == logging.ERROR
    ]


async def until_looked(*processes: AddressClaims) -> None:
    await until(lambda: all(each._timer is None for each in processes))


@pytest.mark.parametrize("starting", [True, False])
async def test_several_processes_log_one_error(
    starting: bool, address: str, processes: list[AddressClaims], caplog: Logged
) -> None:
    """One process logs one line, with the address, the store and the remedy."""
    for each in processes:
        each.watch(starting=starting)
    await until(lambda: told(caplog))
    await until_looked(*processes)
    (line,) = told(caplog)
    assert address in line
    assert "'default'" in line
    assert "'redis'" in line


@pytest.mark.parametrize("end", ["stops", "ends"])
async def test_replacing_process_logs_no_error(
    end: str, address: str, processes: list[AddressClaims], caplog: Logged
) -> None:
    """A new process gets the claim of one that ends, and logs no error."""
    old, new, newer, _ = processes
    old.watch()
    new.watch()
    if end == "stops":
        old.release()
    else:  # As the operating system does when a process ends.
        for descriptor in old._claims.values():
            os.close(descriptor)
        old._claims = {}
    await until_looked(new)
    assert told(caplog) == []
    newer.watch()
    await until(lambda: told(caplog))


async def test_single_process_logs_no_error(
    processes: list[AddressClaims], caplog: Logged
) -> None:
    """A single process logs no error, even if it runs another event loop."""
    one = processes[0]
    one.watch()
    await asyncio.to_thread(lambda: asyncio.run(watch(one)))
    one.watch()
    await until_looked(one)
    assert told(caplog) == []


async def watch(process: AddressClaims) -> None:
    process.watch()


@pytest.mark.parametrize(
    "conf",
    [
        {"store": {"type": "redis"}},
        {
            "store": {"default": {"type": "redis"}, "unused": {"type": "memory"}},
        },
        {"locations": []},
    ],
)
async def test_shared_store_needs_no_claim(
    conf: dict[str, Any],
    processes: list[AddressClaims],
    caplog: Logged,
    settings: LazySettings,
) -> None:
    """Processes that share a store need no claim."""
    settings.PUSH_SERVER = conf
    for each in processes:
        each.watch()
        assert each._claims == {}
    assert told(caplog) == []


async def test_process_of_another_site_is_not_reported(
    processes: list[AddressClaims], caplog: Logged, settings: LazySettings
) -> None:
    """A process of another site at the same address is not reported."""
    for number, each in enumerate(processes):
        settings.SECRET_KEY = f"site-{number}"
        each.watch()
    await until_looked(*processes)
    assert told(caplog) == []


async def test_memory_layer_is_not_shared(
    processes: list[AddressClaims], caplog: Logged, settings: LazySettings
) -> None:
    """A channel layer in memory counts as a store that is not shared."""
    backend = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    settings.CHANNEL_LAYERS = {"default": backend}
    settings.PUSH_SERVER = {"store": {"type": "channel_layer"}}
    for each in processes:
        each.watch()
    await until(lambda: told(caplog))


async def test_claim_is_a_locked_file_without_abstract_sockets(
    processes: list[AddressClaims],
    caplog: Logged,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On systems other than Linux, a claim is a locked file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(address_claims, "sys", SimpleNamespace(platform="darwin"))
    old, new, newer, _ = processes
    old.watch()
    old.release()
    new.watch()
    await until_looked(new)
    assert told(caplog) == []
    newer.watch()
    await until(lambda: told(caplog))
    assert list(tmp_path.glob("pushserver-*.lock"))
