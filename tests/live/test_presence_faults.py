"""Who is on a channel while Redis fails under two servers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from django.test import override_settings

from pushserver import presence
from tests.servers import daphne
from tests.valkey import Valkey
from tests.waiting import until

from .conftest import settings_on
from .presence import LiveWatcher, come, names

VISITORS = 20


def restart(store: Valkey) -> None:
    store.stop(signal.SIGKILL)
    store.start()


def freeze(store: Valkey) -> None:
    """Let Redis answer nothing, for longer than the processes wait for an answer."""
    os.kill(store.process.pid, signal.SIGSTOP)
    time.sleep(12)
    os.kill(store.process.pid, signal.SIGCONT)


#: What happens to Redis, and whether its data survive.
FAULTS: dict[str, tuple[Callable[[Valkey], None], bool]] = {
    "killed": (restart, True),
    "killed, and all is lost": (restart, False),
    "frozen": (freeze, False),
}


@pytest.mark.left_to_all("presence faults")
@pytest.mark.parametrize("fault", FAULTS)
async def test_nobody_is_forgotten_and_nobody_stays(fault: str) -> None:
    """After the fault all are there who are, and those who leave are gone."""
    happen, is_persistent = FAULTS[fault]
    with ExitStack() as stack:
        store = stack.enter_context(Valkey(persistent=is_persistent))
        conf = settings_on(
            store,
            presence=True,
            presence_grace=3,
            authorize="tests.server.presence.visitors.may_listen",
        )
        servers = [stack.enter_context(daphne(conf)) for _ in range(2)]
        watching = [await LiveWatcher.open(each, "room") for each in servers]
        visitors = {
            name: await come(servers[number % 2], "room", name)
            for number, name in enumerate(sorted(names(VISITORS)))
        }
        for each in watching:
            await each.until_here(names(VISITORS))
        happen(store)
        gone = sorted(names(VISITORS))[:4]
        for name in gone:
            visitors.pop(name).close()
        here = set(visitors)
        for number in range(2):  # Longer than a member could stay.
            brief = await come(servers[number], "room", "brief")
            for each in watching:
                await each.until_here(here | {"brief"})
            brief.close()
            for each in watching:
                await each.until_here(here)
        late = await LiveWatcher.open(servers[0], "room")
        await late.until_here(here)
        with override_settings(PUSH_SERVER=conf):
            await until(lambda: is_known(here))
        for stream in [
            *visitors.values(),
            *(each.stream for each in [*watching, late]),
        ]:
            stream.close()


async def is_known(users: set[str]) -> bool:
    """Return whether another process finds exactly these users on the channel."""
    return set(await presence.amembers("room")) == users
