"""A push server in a thread, for browser tests of a site.

Twisted's reactor cannot be started twice in a process, so it runs in one thread until
the process ends, and each live server listens on a port of its own there. Importing
this module installs the reactor, as importing Daphne's server does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import Any

import daphne.server
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.signals import request_started
from django.db import connections
from django.test.testcases import LiveServerThread
from django.test.utils import modify_settings, override_settings
from django.utils.module_loading import import_string
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString

from pushserver.conf import MemoryStoreSettings, StoreSettings, get_settings
from pushserver.test_environment import live_server
from pushserver_channels.client_connection import TwistedConnection
from pushserver_channels.hub import hubs
from pushserver_channels.publishers import DirectPublisher
from pushserver_channels.routing import get_application
from pushserver_channels.shutdown import wait_for_end
from pushserver_channels.static_files import add_static_files
from pushserver_channels.types import Application, Receive, Scope, Send

# Twisted has no types for these.
reactor: Any = _reactor
make_endpoint: Any = serverFromString

#: Seconds that the start and the end of a live server may take.
TIMEOUT = 30.0


class _Server(daphne.server.Server):
    """A Daphne server whose application and ports change while it runs.

    Attributes:
        application: The application of the live server that runs now.
    """

    def __init__(self) -> None:
        super().__init__(_no_site, endpoints=["later"], signal_handlers=False)
        self.application: Application = _no_site
        self.endpoints: list[str] = []

    async def listen(self, host: str, port: int) -> Any:
        """Listen on an address; return Twisted's port."""
        escaped = host.replace(":", r"\:")
        endpoint = make_endpoint(reactor, f"tcp:{port}:interface={escaped}")
        return await _as_future(endpoint.listen(self.http_factory))

    async def close(self, port: Any) -> None:
        """Stop listening, close all connections, and wait until requests have ended."""
        await _as_future(port.stopListening())
        requests = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        ]
        for protocol in list(self.connections):
            TwistedConnection(protocol, never_waits=True).abort()
        for request in requests:
            request.cancel()
        await wait_for_end(requests, TIMEOUT)
        self.application = _no_site


async def _no_site(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("No live server runs now.")


async def _as_future(deferred: Deferred[Any]) -> Any:
    return await deferred.asFuture(asyncio.get_running_loop())


_server: _Server | None = None


def _find_server() -> _Server:
    """Return the server of this process; start the reactor's thread if needed."""
    global _server
    if _server is None:
        _server = server = _Server()
        started = threading.Event()
        reactor.callWhenRunning(started.set)
        thread = threading.Thread(target=server.run, name="reactor", daemon=True)
        thread.start()
        if not started.wait(TIMEOUT):
            raise RuntimeError("Twisted's reactor does not start.")
    return _server


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the reactor's event loop; return its result."""
    loop = daphne.server.twisted_loop
    return asyncio.run_coroutine_threadsafe(work, loop).result(TIMEOUT)


class PushServerThread(LiveServerThread):
    """Serves the site and its push locations on Daphne, as Django's thread serves WSGI.

    Meanwhile all stores are in memory, and the hosts in ``PUSH_SERVER`` are those of
    the pages, so that no test reaches another server. It is no thread of its own:
    :meth:`start` returns when the server listens.
    """

    def start(self) -> None:
        """Begin to serve, and to send what the tests publish to subscribers."""
        self._exits = ExitStack()
        try:
            self._enter()
        except Exception as error:
            self._exits.close()
            failure: Any = error  # Django's thread only expects one kind.
            self.error = failure
        self.is_ready.set()

    def _enter(self) -> None:
        enter = self._exits.enter_context
        enter(override_settings(PUSH_SERVER=_adapt_settings()))
        server = _find_server()
        server.application = _build_application()
        enter(_sharing_connections(self.connections_override or {}))
        listening = _run(_listen(server, self.host, self.port))
        self._exits.callback(lambda: _run(_close(server, listening)))
        self.port: int = listening.getHost().port
        enter(_sending_messages())

    def terminate(self) -> None:
        """Stop serving. What the server kept is forgotten."""
        self._exits.close()


@contextmanager
def serving(host: str = "localhost") -> Iterator[str]:
    """Serve the site and its push locations in the context; give the URL.

    Args:
        host: The host on which to listen.
    """
    databases: Sequence[Any] = connections.all()
    shared = {
        each.alias: each
        for each in databases
        if each.vendor == "sqlite" and each.is_in_memory_db()
    }
    server = PushServerThread(host, StaticFilesHandler, connections_override=shared)
    with modify_settings(ALLOWED_HOSTS={"append": host}), ExitStack() as exits:
        for connection in shared.values():
            connection.inc_thread_sharing()
            exits.callback(connection.dec_thread_sharing)
        server.start()
        if server.error:
            raise server.error
        exits.callback(server.terminate)
        yield f"http://{host}:{server.port}"


async def _listen(server: _Server, host: str, port: int) -> Any:
    hubs.serve()
    return await server.listen("127.0.0.1" if host == "localhost" else host, port)


async def _close(server: _Server, listening: Any) -> None:
    hubs.forget_listeners()
    await server.close(listening)
    hubs.leave()
    # Otherwise a test database cannot be destroyed.
    await sync_to_async(connections.close_all)()


def _adapt_settings() -> dict[str, Any]:
    """Return ``PUSH_SERVER`` with stores in memory and without other hosts."""
    raw = dict(getattr(settings, "PUSH_SERVER", {}))
    for name in ("publisher", "publisher_host", "subscriber_host"):
        raw.pop(name, None)
    stores = get_settings().store
    raw["store"] = {name: _adapt_store(store) for name, store in stores.items()}
    return {**raw, "publisher": "locmem"}


def _adapt_store(store: StoreSettings) -> dict[str, Any]:
    """Return the settings of a store in memory with the limits of another store."""
    names = [each.name for each in fields(MemoryStoreSettings) if each.name != "type"]
    limits = {name: getattr(store, name) for name in names if hasattr(store, name)}
    return {"type": "memory", **limits}


@contextmanager
def _sharing_connections(overrides: Mapping[str, Any]) -> Iterator[None]:
    """Give the threads of the site the database connections of the tests.

    Only databases in memory need that: others are opened by each thread.
    """

    def share_connections(**kwargs: Any) -> None:
        for alias, connection in overrides.items():
            connections[alias] = connection

    request_started.connect(share_connections)
    try:
        yield
    finally:
        request_started.disconnect(share_connections)


@contextmanager
def _sending_messages() -> Iterator[None]:
    """Send messages to the server, besides recording them."""
    live_server.publisher = DirectPublisher()
    try:
        yield
    finally:
        live_server.publisher = None


def _build_application() -> Application:
    """Return the site's ASGI application, with its static files."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    application: Application = (
        import_string(path) if path else get_application(get_asgi_application())
    )
    return add_static_files(application)
