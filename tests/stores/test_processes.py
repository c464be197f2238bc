"""Several processes of a site with one store: servers and publishers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests import http
from tests.servers import ROOT, ServerProcess, channel_info, wait_until, wait_until_held
from tests.valkey import Valkey

from .conftest import need_channels_redis

#: Publishes as a shell, a Celery task or a cron job does, in its own process.
PUBLISH = """
import sys
import django
django.setup()
from pushserver.updates import send_update
for number in range(3):
    print(send_update(sys.argv[1], {"n": number}).status)
"""


def site_environment(store: str, valkey: Valkey) -> dict[str, str]:
    """Return the environment with which the example site uses a store."""
    env = {"DJANGO_SETTINGS_MODULE": "example_project.settings"}
    if store == "redis":
        env["PUSH_STORE_URL"] = valkey.url
    elif store == "layer":
        need_channels_redis()
        env |= {"PUSH_STORE_URL": "layer://default", "CHANNEL_LAYER_URL": valkey.url}
    return env


def example_site(env: dict[str, str]) -> ServerProcess:
    return ServerProcess(
        *(sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1"),
        *("-p", "{port}", "example_project.asgi:application"),
        env=env,
        last_signal=signal.SIGKILL,
    )


@pytest.fixture(scope="module", params=["redis", "layer"])
def env(request: pytest.FixtureRequest, valkey: Valkey) -> dict[str, str]:
    """The environment of all processes of a site."""
    return site_environment(request.param, valkey)


@pytest.fixture(scope="module")
def servers(env: dict[str, str]) -> Iterator[list[ServerProcess]]:
    """Two processes that serve the example site."""
    with ExitStack() as stack:
        servers = [stack.enter_context(example_site(env)) for _ in range(2)]
        for server in servers:
            # Over a channel layer, a process joins with its first request.
            http.get(f"{server.url}/send-update/nobody")
        yield servers


@pytest.fixture
def channel_id() -> str:
    """A channel that no other test uses."""
    return uuid.uuid4().hex


def test_message_reaches_every_process(
    servers: list[ServerProcess], channel_id: str
) -> None:
    """A subscriber at one server gets what is published at the other."""
    publishers = [f"{server.url}/send-update/{channel_id}" for server in servers]
    with ThreadPoolExecutor(2) as threads:
        held = [
            threads.submit(http.get, f"{server.url}/updates/{channel_id}", timeout=30)
            for server in servers
        ]
        for url in publishers:
            wait_until(lambda url=url: channel_info(url).get("subscribers"))
        http.post(publishers[0], content=b"news").raise_for_status()
        answers = [each.result(30) for each in held]
    assert [answer.content for answer in answers] == [b"news", b"news"]
    names = [(each.headers["Last-Modified"], each.headers["Etag"]) for each in answers]
    assert len(set(names)) == 1


def test_another_process_publishes(
    env: dict[str, str], servers: list[ServerProcess], channel_id: str
) -> None:
    """A plain Python process publishes into the store, and the servers deliver it."""
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(
            http.get, f"{servers[1].url}/updates/{channel_id}", timeout=30
        )
        wait_until_held(f"{servers[1].url}/send-update/{channel_id}")
        # No server listens at the address for publishing over HTTP.
        told = subprocess.run(
            [sys.executable, "-c", PUBLISH, channel_id],
            cwd=ROOT,
            env={**servers[0].env, **env, "PORT": "9"},
            capture_output=True,
            text=True,
            check=True,
        )
        answer = held.result(30)
    assert answer.json() == {"n": 0}
    statuses = told.stdout.split()
    assert len(statuses) == 3
    assert set(statuses) <= {"201", "202"}
    for server in servers:
        last = {"n": -1}
        headers: dict[str, str] = {}
        for number in range(3):
            url = f"{server.url}/updates/{channel_id}"
            answer = http.get(url, headers=headers, timeout=30)
            last = answer.json()
            assert last == {"n": number}
            headers = {
                "If-Modified-Since": answer.headers["Last-Modified"],
                "If-None-Match": answer.headers["Etag"],
            }


def test_default_store_is_in_memory(valkey: Valkey, channel_id: str) -> None:
    """Without a PUSH_STORE_URL, messages are in the memory of the one process."""
    with example_site(site_environment("memory", valkey)) as server:
        url = f"{server.url}/send-update/{channel_id}"
        assert http.post(url, content=b"news").status_code == 202
        answer = http.get(f"{server.url}/updates/{channel_id}")
        assert answer.content == b"news"


def test_restart_of_a_memory_store_reports_a_gap(
    valkey: Valkey, channel_id: str
) -> None:
    """After a restart, a client gets a gap for messages lost with the memory."""
    with example_site(site_environment("memory", valkey)) as server:
        publisher = f"{server.url}/send-update/{channel_id}"
        subscriber = f"{server.url}/updates/{channel_id}"
        http.post(publisher, content=b"seen")
        seen = http.get(subscriber)
        http.post(publisher, content=b"missed")
        server.stop(signal.SIGKILL)
        server.start()
        http.post(publisher, content=b"news")
        last_seen = {
            "If-Modified-Since": seen.headers["Last-Modified"],
            "If-None-Match": seen.headers["Etag"],
        }
        answer = http.get(subscriber, headers=last_seen)
        assert answer.content == b"news"
        assert "Push-Gap" in answer.headers
        assert "Push-Gap" not in http.get(subscriber).headers


#: A view that forks in the process of a server.
FORK = """
import asyncio
import os
import os
import signal
import sys
import django
django.setup()
from asgiref.sync import sync_to_async
from pushserver.updates import send_update
from pushserver_channels.hub import hubs

def fork():
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(send_update(sys.argv[1], {"by": "the child"}).status - 202)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def serve():
    hubs.serve()
    await hubs.get("default").create(sys.argv[1])
    assert await sync_to_async(fork)() == 0
    info = await hubs.get("default").info(sys.argv[1])
    assert info.messages == 1, info

asyncio.run(serve())
"""


def test_forked_server_process_can_publish(valkey: Valkey, channel_id: str) -> None:
    """A process that a server forks can publish, and the server continues."""
    subprocess.run(
        # Python 3.12 and later warn because there are threads.
        [sys.executable, "-W", "ignore", "-c", FORK, channel_id],
        cwd=ROOT,
        env={**os.environ, **site_environment("redis", valkey)},
        check=True,
        timeout=60,
    )
