"""Find out whether this process is able to serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from .exceptions import PushError
from .held import HeldLimits
from .hub import hubs

logger = logging.getLogger("pushserver.server")

#: Seconds in which a store has to answer.
TIMEOUT = 1.0


class Health:
    """Finds out whether this process is able to serve.

    Args:
        stores: The names of the stores that the process needs.
        limits: Counts what subscribers hold.
    """

    def __init__(self, stores: Sequence[str], limits: HeldLimits) -> None:
        self._stores = stores
        self._limits = limits
        self._checking: asyncio.Task[dict[str, bool]] | None = None

    async def find_faults(self) -> list[str]:
        """Return a sentence for each reason why no request should be sent here."""
        faults = []
        if hubs.is_stopping:
            faults.append("The server stops.")
        elif hubs.draining.is_active:
            faults.append("The process is draining: it ends what it holds.")
        if self._limits.is_reached:
            faults.append(
                "The process holds as many subscribers as PUSH_SERVER['max_held']"
                f" allows: {self._limits.held}."
            )
        answers = await self.check_stores()
        faults += [
            f"The store {name!r} has not answered in time."
            for name, is_up in answers.items()
            if not is_up
        ]
        return faults

    async def check_stores(self) -> dict[str, bool]:
        """Return whether each store has answered in time, by name.

        Callers at the same time share the answers, so that many requests do not ask a
        store often.
        """
        loop = asyncio.get_running_loop()
        checking = self._checking
        if checking is None or checking.done() or checking.get_loop() is not loop:
            checking = self._checking = loop.create_task(self._check_stores())
        return dict(await asyncio.shield(checking))

    async def _check_stores(self) -> dict[str, bool]:
        answers = await asyncio.gather(*map(_is_up, self._stores))
        return dict(zip(self._stores, answers, strict=True))


async def _is_up(name: str) -> bool:
    """Return whether a store has answered in time."""
    try:
        await asyncio.wait_for(hubs.get(name).store.check_health(), TIMEOUT)
    except (PushError, asyncio.TimeoutError):
        return False
    except Exception:
        extra = {"reason": "failed"}
        logger.exception("The store %r cannot be checked", name, extra=extra)
        return False
    return True
