"""The ways from a process to the servers of its store, kept up and made again."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pushserver.passwords import mask
from pushserver_channels.exceptions import StoreUnavailable

from .channels import Part
from .lines import ANSWER_TIMEOUT, Line, LineError, LineLost, Push
from .servers import Address, Servers

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Seconds before the next try to reach a server, after the first and after many.
RETRY_AFTER = (0.1, 1.0)


class Network:
    """One line to each server, and who knows what runs beside it.

    Args:
        servers: Where they are.
        prefix: Begins all keys.
        on_push: Hears what is published.
        on_line: Hears that a part can be reached.
        on_end: Hears that some parts cannot be reached any more.

    Attributes:
        parts: Into which the channels are dealt.
    """

    def __init__(
        self,
        servers: Servers,
        prefix: str,
        on_push: Callable[[Push], None],
        on_line: Callable[[Part, Line], None],
        on_end: Callable[[], None],
    ) -> None:
        self.parts = [Part(prefix, number) for number in range(servers.parts)]
        self._servers = servers
        self._on_push = on_push
        self._on_line = on_line
        self._on_end = on_end
        self._lines: dict[Address, Line] = {}
        self._dialing: dict[Address, asyncio.Task[Line]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def line(self, part: Part) -> Line:
        """Return the connection to a part. Raises :class:`StoreUnavailable`."""
        if part.line is not None:
            return part.line
        if part.connecting is None:
            if self._closed or time.monotonic() < part.down_until:
                raise StoreUnavailable
            part.connecting = self.start(self._connect(part))
        return await asyncio.shield(part.connecting)

    def restore(self, part: Part) -> None:
        """Go on trying to reach a part as long as somebody waits there."""
        if part.restoring is None:
            part.restoring = self.start(self._restore(part))

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Do something that ends with the store."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # The loop itself keeps no task alive.
        task.add_done_callback(self._finish)
        return task

    def close(self) -> None:
        """End all connections, and all that was started."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for line in list(self._lines.values()):
            line.end(LineLost("The store is closed."))

    async def aclose(self) -> None:
        """Return when all connections are closed."""
        lines = list(self._lines.values())
        self.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in lines:
            await line.wait_closed()

    async def _connect(self, part: Part) -> Line:
        try:
            line = await asyncio.wait_for(self._reach(part), ANSWER_TIMEOUT)
            if line.error is not None:
                raise line.error
        except Exception as error:
            reason = mask(str(error) or repr(error))
            self._servers.forget()
            delay = min(RETRY_AFTER[0] * 2**part.failures, RETRY_AFTER[1])
            part.down_until = time.monotonic() + delay * random.uniform(0.5, 1.0)
            part.failures = min(part.failures + 1, 10)
            if part.failures == 1:
                logger.error("Redis cannot be reached: %s", reason)
            # Not from the error itself: frames of redis-py, which its traceback has,
            # hold the password.
            raise StoreUnavailable from LineLost(reason)
        finally:
            part.connecting = None
        if part.failures:
            logger.warning("Redis is reached again")
        part.failures = 0
        part.line = line
        self._on_line(part, line)
        return line

    async def _reach(self, part: Part) -> Line:
        address = await self._servers.find(part.mark)
        line = self._lines.get(address)
        if line is None:
            dialing = self._dialing.get(address)
            if dialing is None:
                dialing = self._dialing[address] = self.start(self._dial(address))
            line = await asyncio.shield(dialing)
        return line

    async def _dial(self, address: Address) -> Line:
        opening = Line.open(
            self._servers.connection(address),
            self._on_push,
            self._hang_up,
            # There are several if each has an address: others may lag behind.
            keeps=not address,
        )
        try:
            line = await asyncio.wait_for(opening, ANSWER_TIMEOUT)
        finally:
            del self._dialing[address]
        self._lines[address] = line
        return line

    def _hang_up(self, line: Line, error: LineError) -> None:
        """Hear that a connection has ended."""
        self._lines = {
            address: each for address, each in self._lines.items() if each is not line
        }
        self._servers.forget()
        self._on_end()
        if self._closed:
            return
        logger.warning("The connection to Redis has ended: %s", error)
        for part in self.parts:
            if part.line is line:
                part.line = None
                for ear in part.ears:
                    ear.shut()
                if part.ears:
                    self.restore(part)

    async def _restore(self, part: Part) -> None:
        try:
            while part.ears and part.line is None:
                try:
                    await self.line(part)
                except StoreUnavailable:
                    await asyncio.sleep(max(part.down_until - time.monotonic(), 0))
        finally:
            part.restoring = None

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Whoever asked may have left.
