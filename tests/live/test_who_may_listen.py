"""Who may listen, on a real site with users, and over several processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import override_settings

from pushserver.access import arevoke, revoke
from pushserver.updates import subscriber_url
from tests import http
from tests.conformance.servers import uvicorn
from tests.servers import ServerProcess, daphne
from tests.tiers import in_tier
from tests.valkey import Valkey
from tests.waiting import until, wait_until

from .conftest import COMPLAINTS, settings_on
from .streaming import LiveStream
from .wire import publish

LOCATION = {"type": "subscriber", "create_on_get": True, "timeout": 30}

SITE: dict[str, Any] = {
    "locations": [
        {"type": "publisher", "url": "/send-update/([^/]+)"},
        {
            **LOCATION,
            "url": "/updates/([^/]+)",
            "authorize": "tests.live.users.may_listen",
        },
        {**LOCATION, "url": "/signed/([^/]+)", "signed": True, "name": "signed"},
    ]
}

MAKERS = {"daphne": daphne, "uvicorn": uvicorn}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A Daphne that serves a site with users."""
    database = str(tmp_path_factory.mktemp("users") / "db.sqlite3")
    env = {"DJANGO_SETTINGS_MODULE": "tests.live.users", "TEST_DATABASE": database}
    command = [sys.executable, "-m", "django", "migrate", "-v", "0"]
    subprocess.run(
        command, check=True, env={**os.environ, **env, "PYTHONPATH": str(Path.cwd())}
    )
    with daphne(SITE, **env) as server:
        yield server
        said = server.log()
        assert not any(complaint in said for complaint in COMPLAINTS), said


@pytest.fixture
async def anna(site: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged in."""
    async with http.AsyncClient(base_url=site.url) as client:
        assert (await client.get("/login/anna")).status_code == 200
        yield client


async def until_held(site: ServerProcess, channel_id: str) -> None:
    """Wait until a request is held on a channel."""

    def is_held() -> bool:
        url = f"{site.url}/send-update/{channel_id}"
        answer = http.get(url, headers={"Accept": "application/json"})
        return answer.status_code == 200 and answer.json()["subscribers"] == 1

    await asyncio.to_thread(wait_until, is_held)


async def test_the_session_decides(
    site: ServerProcess, anna: httpx.AsyncClient
) -> None:
    """A user hears the own channel; others are refused, as is a stranger."""
    asking = asyncio.ensure_future(anna.get("/updates/anna"))
    await until_held(site, "anna")
    assert await publish(site.port, "anna", b"hello") == 201
    assert (await asking).text == "hello"
    assert (await anna.get("/updates/bob")).status_code == 403
    assert http.get(f"{site.url}/updates/anna").status_code == 403
    forged = {"Cookie": "sessionid=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
    assert http.get(f"{site.url}/updates/anna", headers=forged).status_code == 403


@pytest.mark.parametrize("path", ["/updates/anna", "signed"])
async def test_logging_out_ends_what_the_session_holds(
    site: ServerProcess, anna: httpx.AsyncClient, path: str
) -> None:
    """A held request ends with the session, and another session of the user stays."""
    if path == "signed":
        answer = await anna.get("/page/anna")
        assert "Cookie" in answer.headers["Vary"]
        path = answer.text
    channel_id = path.partition("?")[0].rpartition("/")[2]
    news = {"If-None-Match": "0", "If-Modified-Since": "Fri, 31 Dec 2055 23:59:59 GMT"}
    async with http.AsyncClient(base_url=site.url) as other:
        await other.get("/login/anna")
        cookie = f"Cookie: sessionid={other.cookies['sessionid']}"
        staying = await LiveStream.open(site.port, "/updates/anna", cookie)
        asking = asyncio.ensure_future(anna.get(path, headers=news))
        await until(lambda: channel_id)
        await asyncio.to_thread(wait_for_subscribers, site, channel_id, 2)
        await anna.get("/logout")
        assert (await asking).status_code == 403
        assert (await anna.get(path)).status_code in (401, 403)
        assert await publish(site.port, "anna", b"still") == 201
        await until(lambda: "still" in staying.bodies)
        staying.close()


def wait_for_subscribers(site: ServerProcess, channel_id: str, count: int) -> None:
    """Wait until this number of subscribers is on a channel."""

    def are_there() -> bool:
        url = f"{site.url}/send-update/{channel_id}"
        answer = http.get(url, headers={"Accept": "application/json"})
        return answer.status_code == 200 and answer.json()["subscribers"] == count

    wait_until(are_there)


@pytest.fixture(
    scope="module", params=[in_tier(name, {"daphne"}, "access") for name in MAKERS]
)
def servers(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[ServerProcess, ServerProcess, dict[str, Any]]]:
    """Two processes that share a store in Redis, and their settings."""
    make = MAKERS[request.param]
    with Valkey() as store:
        rule = "tests.server.rules.may_listen"
        conf = settings_on(store, signed=True, authorize=rule)
        with make(conf) as one, make(conf) as other:
            yield one, other, conf
            for server in (one, other):
                said = server.log()
                assert not any(complaint in said for complaint in COMPLAINTS), said


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_revocation_reaches_all_processes(
    servers: tuple[ServerProcess, ServerProcess, dict[str, Any]], is_async: bool
) -> None:
    """Streams of all processes end, from a process without a push server."""
    one, other, conf = servers
    with override_settings(PUSH_SERVER=conf):
        shared = f"shared-{is_async}"
        url = subscriber_url(shared, user="anna")
        kept = subscriber_url(shared, user="carol")
        streams = [
            await LiveStream.open(one.port, url),
            await LiveStream.open(other.port, url),
            await LiveStream.open(one.port, "/updates/anna", "X-User: anna"),
        ]
        staying = await LiveStream.open(other.port, kept)
        if is_async:
            await arevoke(user="anna")
        else:
            await asyncio.to_thread(revoke, user="anna")
        for stream in streams:
            await stream.until_ended()
            assert [each.name for each in stream.events] == ["push-denied"]
        for server in (one, other):
            assert http.get(server.url + url).status_code == 401
        assert not staying.has_ended
        assert await publish(one.port, shared, b"still") == 201
        await until(lambda: "still" in staying.bodies)
        staying.close()


async def test_a_new_process_knows_what_was_revoked(
    servers: tuple[ServerProcess, ServerProcess, dict[str, Any]],
) -> None:
    """A process that starts later refuses the tokens that were revoked before."""
    one, _, conf = servers
    with override_settings(PUSH_SERVER=conf):
        url = subscriber_url("later", session="one")
        await arevoke(session="one")
        with daphne(json.loads(json.dumps(conf))) as new:
            assert http.get(new.url + url).status_code == 401
