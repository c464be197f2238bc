"""A TCP proxy between a client and a server that can fail as networks do."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class Proxy:
    """Forwards TCP connections to a port on loopback, as a context manager.

    It runs in its own thread, so that it works while a test blocks.

    Args:
        target: The port to which it forwards.
        tls: The TLS context for clients; without one they use plain TCP.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.tls = tls
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers = self._questions = asyncio.Event()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._run(self._open)
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """End all connections and refuse new ones until :meth:`mend` is called."""
        self._run(self._close)

    def freeze(self) -> None:
        """Forward nothing until :meth:`mend` is called, but keep connections open."""
        self._loop.call_soon_threadsafe(self._questions.clear)
        self._loop.call_soon_threadsafe(self._answers.clear)

    def lose_answers(self) -> None:
        """Forward requests but not the answers until :meth:`mend` is called."""
        self._loop.call_soon_threadsafe(self._answers.clear)

    def mend(self) -> None:
        """Forward everything again; frozen connections are closed, with their data."""
        self._run(self._close)
        self._run(self._open)

    def _run(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run_coroutine_threadsafe(function(), self._loop).result(10)

    async def _open(self) -> None:
        self._answers, self._questions = asyncio.Event(), asyncio.Event()
        self._answers.set()
        self._questions.set()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            for listener in server.sockets:
                self._loop.remove_reader(listener)
            # asyncio leaves accepted sockets open if the server is closed before the
            # event loop has handled them.
            await asyncio.sleep(0)
            server.close()
        for writer in self._writers:
            # Send a reset, as if the machine were gone, and not an orderly close.
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self) -> None:
        await self._close()
        # Also wait for connections that were accepted but not served yet.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._server is None:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        writers = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", self.target
            )
            self._writers.add(far_writer)
            writers.append(far_writer)
            passing = [
                asyncio.create_task(self._pass_on(reader, far_writer, self._questions)),
                asyncio.create_task(self._pass_on(far_reader, writer, self._answers)),
            ]
            try:
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in passing:
                    each.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for open_writer in writers:
                self._writers.discard(open_writer)
                open_writer.transport.abort()
            self._tasks.discard(task)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        open_: asyncio.Event,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await open_.wait()
                writer.write(data)
                await writer.drain()
