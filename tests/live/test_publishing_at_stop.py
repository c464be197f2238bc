"""Publishers whose messages are on their way when the server stops."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from tests.proxies import Proxy
from tests.servers import daphne
from tests.valkey import Valkey
from tests.waiting import until

from .conftest import settings_on
from .wire import Wire, request

PATH = "/send-update/a"
KEY = "Idempotency-Key: order-7"


@pytest.mark.parametrize("headers", [(), (KEY,)])
async def test_a_message_that_redis_has_is_confirmed(headers: tuple[str, ...]) -> None:
    """A POST that the server cancels at its stop is answered with what became of it.

    Redis has published the message, but its answer was lost.
    """
    with Valkey() as valkey, Proxy(valkey.port) as proxy:
        conf = settings_on(valkey)
        conf["store"]["url"] = f"redis://127.0.0.1:{proxy.port}/0"
        with daphne(conf) as server, valkey.client() as client:
            async with await Wire.open(server.port) as wire:
                assert (await wire.ask("PUT", PATH)).status == 200
                proxy.lose_answers()
                accept = "Accept: application/json"
                await wire.send(request("POST", PATH, accept, *headers, body=b"news"))
                key = "pushserver:{%02x}:messages:a"
                keys = [key % number for number in range(256)]
                await until(lambda: any(client.exists(each) for each in keys))
                server.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(proxy.mend)
                answer = await wire.answer()
                assert answer.status == 202
                assert json.loads(answer.body)["messages"] == 1
            assert await asyncio.to_thread(server.process.wait, 20) == 0
            assert "Traceback" not in server.log()
            [found] = [each for each in keys if client.exists(each)]
            assert client.xlen(found) == 1


async def test_a_drained_server_answers_its_last_publishers() -> None:
    """Before it stops it accepts no more connections, and answers those that it has."""
    with Valkey() as valkey, Proxy(valkey.port) as proxy:
        conf = settings_on(valkey)
        conf["store"]["url"] = f"redis://127.0.0.1:{proxy.port}/0"
        with daphne({**conf, "drain": 0.1}) as server:
            async with await Wire.open(server.port) as wire:
                assert (await wire.ask("PUT", PATH)).status == 200
                proxy.lose_answers()
                await wire.send(request("POST", PATH, body=b"news"))
                server.process.send_signal(signal.SIGTERM)
                await until(lambda: not server.listens())
                await asyncio.to_thread(proxy.mend)
                answer = await wire.answer()
                assert answer.status == 202
            assert await asyncio.to_thread(server.process.wait, 20) == 0
            assert "Traceback" not in server.log()
