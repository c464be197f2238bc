"""The hubs of this process, which belong to the event loop that serves."""

from __future__ import annotations

import asyncio
import os
from asyncio import get_running_loop
from collections.abc import Hashable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.core.signals import setting_changed

from pushserver.conf import Host, StoreSettings, get_settings
from pushserver_channels.address_claims import AddressClaims
from pushserver_channels.listeners import ListenerWatch
from pushserver_channels.shutdown import (
    TerminationDelay,
    call_before_shutdown,
    stop_listening,
)
from pushserver_channels.stores import make_store

from .draining import Draining
from .hub import Hub

#: Seconds for which a server that has drained waits for publishers, at most.
PUBLISHING_TIMEOUT = 5.0

#: Seconds in which the last requests arrive: those of clients that have just connected,
#: and those on connections that a proxy keeps, the printed nginx for one second.
LAST_REQUESTS = 1.5


class HubRegistry:
    """The hubs of this process by the name of their store, created on first use.

    They belong to the event loop that serves. A second server in the process, on
    another event loop, would not get the first one's messages, so it is refused. When
    the event loop has stopped, the next one starts with empty stores.

    Attributes:
        draining: Ends what the process holds bit by bit.
        publishing: How many requests of publishers are being answered.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        # By the name of the store, and its settings unless they are in PUSH_SERVER.
        self._hubs: dict[Hashable, Hub] = {}
        self._hubs_of_parent: dict[Hashable, Hub] = {}
        self._stopping: asyncio.AbstractEventLoop | None = None
        self._address: Sequence[Any] | None = None  # The last one added.
        self._addresses: set[tuple[Any, ...]] = set()
        self._claims = AddressClaims()
        self._listeners = ListenerWatch(self.stop)
        self.draining = Draining(self, lambda: self.is_stopping)
        self.publishing = 0
        self._termination = TerminationDelay(self._prepare_stop)

    def __iter__(self) -> Iterator[Hub]:
        """Iterate over the hubs that were created."""
        return iter(self._hubs.values())

    @property
    def is_stopping(self) -> bool:
        """Whether the server on the running event loop stops."""
        return self._stopping is asyncio.get_running_loop()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that serves, None if no server runs in this process."""
        if self._loop is not None and self._loop.is_running():
            return self._loop
        return None

    def serve(self, address: Sequence[Any] | None = None) -> None:
        """Make the running event loop the one that serves, if there is none yet.

        Args:
            address: The server's host and port, from the ASGI scope of a request, or
                None if unknown.
        """
        running = asyncio.get_running_loop()
        if self._loop is not running and self.loop is None:
            self.reset()
            self._loop = running
            self._address = None
            self._addresses = set()
            call_before_shutdown(self.stop)
            self._claims.watch()
            self._listeners.forget()
            self.draining.reset()
            if get_settings().drain:
                self._termination.install()
        if address != self._address and address is not None:
            self._address = address
            if tuple(address) not in self._addresses:
                self._addresses.add(tuple(address))
                self._listeners.add(address)

    def serves_at(self, host: Host) -> bool:
        """Return whether the server of this process listens at a host.

        An address is known after the first request to it; until then this is False.
        """
        url = urlsplit(host.url)
        port = url.port or (443 if host.secure else 80)
        names = ("127.0.0.1", "::1") if url.hostname == "localhost" else (url.hostname,)
        return self.loop is not None and any(
            (name, port) in self._addresses for name in names
        )

    def get(
        self,
        store: str,
        address: Sequence[Any] | None = None,
        settings: StoreSettings | None = None,
    ) -> Hub:
        """Return the hub of a store, for the running event loop.

        Args:
            store: The name of the store.
            address: As in :meth:`serve`.
            settings: The settings of another store beside it, None for the store in
                ``PUSH_SERVER``.

        Raises ``RuntimeError`` if another event loop of this process serves.
        """
        key = store if settings is None else (store, settings)
        hub = self._hubs.get(key)
        running = get_running_loop()
        if hub is not None and hub.loop is running and address == self._address:
            return hub
        self.serve(address)
        if hub is not None and hub.loop is running:
            return hub
        if self._loop is not running:
            raise RuntimeError(
                "Another push server runs in this process already, on another event"
                " loop. Run each server in a process of its own."
            )
        hub = Hub(
            make_store(settings or get_settings().store[store]),
            running,
            stopping=self._stopping is running,
        )
        self._hubs[key] = hub
        return hub

    def start(self) -> None:
        """Prepare for a server that starts on the running event loop."""
        self._claims.watch(starting=True)

    async def stop(self) -> None:
        """End all held requests and accept no new ones, because the server stops."""
        self._stopping = asyncio.get_running_loop()
        self._claims.release()
        self._listeners.forget()
        await asyncio.gather(*(hub.stop() for hub in self))

    async def _prepare_stop(self) -> None:
        """End all that is held, then answer the publishers that are still there.

        Daphne closes the connections of those that it has not answered when it stops,
        and a proxy cannot know whether their messages were published.
        """
        await self.draining.end_held()
        if self.is_stopping:
            return
        self._listeners.forget()
        if not stop_listening():
            return
        deadline = asyncio.get_running_loop().time() + PUBLISHING_TIMEOUT
        await asyncio.sleep(LAST_REQUESTS)
        while self.publishing and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)

    def reset(self) -> None:
        """Close all stores in this process, and forget the hubs."""
        for hub in self:
            if not hub.loop.is_closed():
                hub.store.close()
        self._hubs = {}

    def forget_listeners(self) -> None:
        """Let the server close its sockets without being taken for one that stops."""
        self._listeners.forget()

    def leave(self) -> None:
        """Forget all about the server that has ended, so that another one may serve.

        It may do so on the same event loop.
        """
        self.reset()
        self.forget_listeners()
        self._claims.release()
        self._loop = self._stopping = None

    def reset_in_child(self) -> None:
        """Set the parent's hubs aside in a forked child, which runs another event loop.

        They are kept, because collecting them would close the parent's connections in
        the selector (such as epoll) that both processes share.
        """
        self._hubs_of_parent, self._hubs = self._hubs, {}
        self._loop = None
        self._claims.reset_in_child()
        # The timer of the old one belongs to the parent's event loop.
        self._listeners = ListenerWatch(self.stop)
        self.draining.reset()
        self.publishing = 0
        self._termination = TerminationDelay(self._prepare_stop)


hubs = HubRegistry()
if hasattr(os, "register_at_fork"):  # Not on Windows.
    os.register_at_fork(after_in_child=hubs.reset_in_child)


def _reset(**change: Any) -> None:
    if change["setting"] == "PUSH_SERVER":
        hubs.reset()


setting_changed.connect(_reset)
