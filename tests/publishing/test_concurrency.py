"""Publish from threads, process pools, greenlets and several event loops."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.valkey import Valkey

from .processes import run_code
from .small_server import SmallServer

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    """A real Valkey for the tests of this module."""
    with Valkey() as process:
        yield process


@pytest.fixture(params=["http", "redis"])
def way(request: pytest.FixtureRequest, small: SmallServer) -> dict[str, Any]:
    """The settings of a process that publishes over HTTP, or into Redis."""
    if request.param == "http":
        return {"publisher_host": small.host.replace("127.0.0.1", "localhost")}
    url = request.getfixturevalue("valkey").url
    return {"store": {"type": "redis", "url": url, "key_prefix": request.node.name}}


GREENLETS = {
    "gevent": (
        "from gevent import monkey\nmonkey.patch_all()\n",
        """
import gevent
greenlets = [gevent.spawn(send_update, f"news-{n % 3}", n) for n in range(40)]
gevent.joinall(greenlets)
print(*(each.get().status for each in greenlets))
""",
    ),
    "eventlet": (
        "import eventlet\neventlet.monkey_patch()\n",
        """
greenlets = [eventlet.spawn(send_update, f"news-{n % 3}", n) for n in range(40)]
print(*(each.wait().status for each in greenlets))
""",
    ),
}


@pytest.mark.parametrize("kind", GREENLETS)
def test_greenlets(kind: str, way: dict[str, Any]) -> None:
    """Greenlets that share a thread can publish concurrently."""
    if find_spec(kind) is None:
        pytest.skip(f"{kind} is not installed: there is none for this Python")
    before, code = GREENLETS[kind]
    assert run_code(code, before, **way).split() == ["202"] * 40


def test_greenlets_beside_an_event_loop(way: dict[str, Any]) -> None:
    """Another greenlet's event loop in the same thread does not prevent publishing."""
    if find_spec("gevent") is None:
        pytest.skip("gevent is not installed: there is none for this Python")
    code = """
import asyncio, gevent, gevent.event
running, done = gevent.event.Event(), gevent.event.Event()

async def run():
    running.set()
    while not done.is_set():
        await asyncio.sleep(0.01)

greenlet = gevent.spawn(asyncio.run, run())
running.wait()
print(gevent.spawn(send_update, "news", 1).get().status)
done.set()
greenlet.get()
"""
    assert run_code(code, GREENLETS["gevent"][0], **way).split() == ["202"]


def test_thread_that_outlives_the_main_thread(way: dict[str, Any]) -> None:
    """A thread that outlives the main one publishes from sync and async code."""
    code = """
import asyncio, threading

def late():
    threading.main_thread().join()
    print(send_update("news", 1).status)
    print(asyncio.run(asend_update("news", 2)).status)

threading.Thread(target=late).start()
"""
    assert run_code(code, **way).split() == ["202"] * 2


def test_at_exit(way: dict[str, Any]) -> None:
    """A function that runs at exit can publish."""
    code = """
import asyncio, atexit

def last():
    print(send_update("news", 1).status)
    print(asyncio.run(asend_update("news", 2)).status)

atexit.register(last)
print(send_update("news", 0).status)
"""
    assert run_code(code, **way).split() == ["202"] * 3


def test_where_no_thread_can_be_started(way: dict[str, Any]) -> None:
    """Async code can publish where no thread can be started."""
    code = """
import asyncio, threading
from pushserver.publishers import PublishError

def refuse(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")

threading.Thread.start = refuse
print(send_update("news", 1).status)
print(asyncio.run(asend_update("news", 2)).status)
"""
    assert run_code(code, **way).split() == ["202"] * 2


def test_event_loops_at_once(way: dict[str, Any]) -> None:
    """Several event loops publish at the same time as sync threads."""
    code = """
import asyncio
from concurrent.futures import ThreadPoolExecutor

async def several(loop):
    return await asyncio.gather(*(asend_update(f"news-{loop}", n) for n in range(10)))

with ThreadPoolExecutor(6) as threads:
    loops = [threads.submit(asyncio.run, several(number)) for number in range(3)]
    calls = [threads.submit(send_update, "news", number) for number in range(10)]
receipts = [receipt for loop in loops for receipt in loop.result()]
receipts += [call.result() for call in calls]
print(*(receipt.status for receipt in receipts))
"""
    assert run_code(code, **way).split() == ["202"] * 40


def test_forked_children(way: dict[str, Any]) -> None:
    """Children forked while threads publish do not disturb each other."""
    code = """
import asyncio, os, threading

stop = threading.Event()

def go_on():
    while not stop.is_set():
        send_update("parent", 1)

threads = [threading.Thread(target=go_on) for _ in range(3)]
for thread in threads:
    thread.start()
asyncio.run(asend_update("parent", 0))
children = []
for child in range(3):
    pid = os.fork()
    if not pid:
        try:
            for number in range(10):
                assert send_update(f"child-{child}", number).status == 202
            assert asyncio.run(asend_update(f"child-{child}", 10)).status == 202
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(pid)
statuses = [os.waitpid(pid, 0)[1] for pid in children]
stop.set()
for thread in threads:
    thread.join()
print(*statuses)
"""
    assert run_code(code, **way).split() == ["0"] * 3
