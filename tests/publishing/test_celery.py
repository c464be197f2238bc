"""A task of Celery, in a worker process, publishes into the store of the server."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest

from pushserver.client import listen
from tests.live.conftest import settings_on
from tests.servers import daphne
from tests.valkey import Valkey

from .celery_site import announce, app

MODULE = "tests.publishing.celery_site"


@pytest.mark.process
@pytest.mark.left_to_all("Celery")
async def test_task_publishes() -> None:
    """What a worker publishes reaches a subscriber, each order once."""
    with Valkey() as store:
        conf = settings_on(store)
        env = {"DJANGO_SETTINGS_MODULE": MODULE, "TEST_BROKER": store.url}
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "celery", "-A", MODULE, "worker"),
            *("--pool", "solo", "--without-gossip", "--loglevel", "warning"),
            env={**os.environ, **env, "TEST_PUSH_SERVER": json.dumps(conf)},
        )
        try:
            with daphne(conf) as server:
                app.conf.broker_url = store.url
                for order in (1, 1, 2):
                    await asyncio.to_thread(announce.delay, order)
                url = f"{server.url}/updates/orders"
                received = []
                async for update in listen(url, after="oldest"):
                    received.append(update.data)
                    if update.data == {"order": 2}:
                        break
        finally:
            worker.terminate()
            await worker.wait()
    assert received == [{"order": 1}, {"order": 2}]
