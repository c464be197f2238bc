"""A store that holds back its results until a test opens a gate."""

from __future__ import annotations

import asyncio

from pushserver.conf import MemoryStoreSettings
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.stores.memory import MemoryStore


class GatedStore(MemoryStore):
    """A memory store that returns its results only when the gate is open.

    Attributes:
        gate: If set, results are returned.
        looked: Set once the store has looked for a message.
    """

    def __init__(self, settings: MemoryStoreSettings) -> None:
        super().__init__(settings)
        self.gate = asyncio.Event()
        self.looked = asyncio.Event()

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        return False

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        found = await super().next(channel_id, after, create=create)
        self.looked.set()
        await self.gate.wait()
        return found
