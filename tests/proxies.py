"""A network between a client and a server, that can fail in the ways of networks."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any


class Proxy:
    """Passes on TCP connections to a port of loopback, as a context manager.

    It runs in a thread of its own, so that it goes on whatever a test waits for.

    Args:
        target: The port.
        tls: Speaks TLS with clients, if it is given.
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
        """End all connections, and refuse new ones until :meth:`mend`."""
        self._run(self._close)

    def freeze(self) -> None:
        """Pass nothing on until :meth:`mend`, but leave connections as they are."""
        self._loop.call_soon_threadsafe(self._questions.clear)
        self._loop.call_soon_threadsafe(self._answers.clear)

    def lose_answers(self) -> None:
        """Pass on what clients say, but not what is answered, until :meth:`mend`."""
        self._loop.call_soon_threadsafe(self._answers.clear)

    def mend(self) -> None:
        """Pass on everything again; what stood still is lost with its connection."""
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
            # asyncio leaves open what was accepted, if the server is closed before that
            # has its turn.
            await asyncio.sleep(0)
            server.close()
        for writer in self._writers:
            # A reset, as of a machine that is gone, not the end of a conversation.
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self) -> None:
        await self._close()
        # Also what was accepted meanwhile, and is not served yet.
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
