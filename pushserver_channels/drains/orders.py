"""The orders to drain, as a process reads them."""

from __future__ import annotations

import json
import logging

from pushserver_channels.followers import Follower
from pushserver_channels.hub import Hub, hubs
from pushserver_channels.messages import MessageId
from pushserver_channels.process_names import is_meant, name_process

logger = logging.getLogger("pushserver.server")

#: The channel of the orders.
CHANNEL = "drains"


class DrainOrders(Follower):
    """Lets this process drain when it is ordered to, and serve again.

    Orders from before it served are not for it.

    Args:
        store: The name of the shared store beside which the orders are.
    """

    __slots__ = ()

    def __init__(self, store: str) -> None:
        super().__init__(store, CHANNEL, logger)

    async def find_start(self, hub: Hub) -> MessageId:
        return await hub.store.position(CHANNEL, 0)

    def apply(self, body: bytes) -> None:
        """Carry out an order, if it is for this process."""
        try:
            order = json.loads(body)
            process, drains = order["process"], order["drains"]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            text = "An order to drain cannot be read: %s"
            logger.error(text, error, extra={"reason": "invalid"})
            return
        if not is_meant(name_process(), process):
            return
        if drains:
            hubs.draining.begin()
        else:
            hubs.draining.undo()
