"""``manage.py pushserver_drain`` over several processes that share a store."""

from __future__ import annotations

import asyncio
import socket
from io import StringIO
from typing import Any

import httpx
from django.core.management import call_command
from django.test import override_settings

from tests.servers import ServerProcess, daphne
from tests.valkey import Valkey
from tests.waiting import until

from .conftest import settings_on
from .test_draining import listen
from .wire import publish, until_held


async def is_ready(client: httpx.AsyncClient, server: ServerProcess) -> bool:
    return (await client.get(f"{server.url}/health/ready")).status_code == 200


def drain(conf: dict[str, Any], *arguments: str) -> str:
    """Run the command, as from another process of the site; return its output."""
    output = StringIO()
    with override_settings(PUSH_SERVER=conf):
        call_command("pushserver_drain", *arguments, stdout=output)
    return output.getvalue()


async def test_a_process_drains_until_it_is_undone() -> None:
    """A named process is not ready, ends what it holds again and again, and serves.

    Others of the same machine go on, and so does the named one when it is undone.
    """
    with Valkey() as valkey:
        conf = {**settings_on(valkey), "drain": 0.2}
        conf["locations"] = [*conf["locations"], {"type": "health", "url": "/health"}]
        with daphne(conf) as one, daphne(conf) as other:
            async with httpx.AsyncClient(base_url=one.url, timeout=60) as client:
                ended: list[str] = []
                for server in (one, other):
                    assert await is_ready(client, server)
                held = asyncio.create_task(listen(client, ended))
                await until_held(one.port, "a", 1)
                name = f"{socket.gethostname()}:{one.process.pid}"

                async def run(*arguments: str) -> str:
                    return await asyncio.to_thread(drain, conf, *arguments)

                async def is_told() -> bool:
                    # Its subscription begins with its first request.
                    said = await run("--process", name)
                    return said == (
                        f"Processes that have read it: 2.\n{name} drains.\n"
                    )

                await until(is_told)
                await held
                assert "push-" not in ended[0]
                assert not await is_ready(client, one)
                assert (await client.get("/health/ready")).json()["reasons"] == [
                    "The process is draining: it ends what it holds."
                ]
                assert await is_ready(client, other)
                # A client that comes nevertheless is served, and ended as well.
                await listen(client, ended)
                assert await publish(one.port, "a", b"still here") in (201, 202)
                await run("--process", name, "--undo")
                await until(lambda: is_ready(client, one))
                held = asyncio.create_task(listen(client, ended))
                await until_held(one.port, "a", 1)
                await run("--process", "another-machine")
                await run()
                await held
                assert not await is_ready(client, other)
                await run("--all", "--undo")
                await until(lambda: is_ready(client, one))
                await until(lambda: is_ready(client, other))
