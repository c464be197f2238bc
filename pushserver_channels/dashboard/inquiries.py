"""The inquiries of dashboards, which all processes of a store hear.

They are messages on a channel of a store of their own, beside the store that they are
about, and are not kept.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from pushserver.conf import StoreSettings, get_settings

#: The channel of the inquiries.
CHANNEL = "inquiries"

#: Seconds after which nothing is left of it.
TIMEOUT = 60.0

#: The most channels of one inquiry.
MAX_CHANNELS = 200


class Inquiry(NamedTuple):
    """A question to each process.

    Attributes:
        channel_ids: The channels of which it is asked how many subscribers they have.
        search: A part of the ids of the channels of which those with most subscribers
            are wanted, in lower case; None for none.
    """

    channel_ids: tuple[str, ...] = ()
    search: str | None = None

    def dump(self) -> bytes:
        """Return the inquiry as it is published."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def parse(cls, body: bytes) -> Inquiry:
        """Return an inquiry that was published. Raises ``ValueError``."""
        try:
            content = json.loads(body)
        except RecursionError as error:
            raise ValueError(f"This is no inquiry: {error}") from error
        if not isinstance(content, dict):
            raise ValueError("An inquiry is an object.")
        ids, search = content.get("channel_ids", []), content.get("search")
        if not isinstance(ids, list) or not isinstance(search, str | None):
            raise ValueError("An inquiry has a list of channels, and a text.")
        return cls(tuple(map(str, ids[:MAX_CHANNELS])), search)


def find_store(name: str) -> StoreSettings:
    """Return the settings of the store by which the processes of another are asked."""
    store = get_settings().store[name]
    return store.beside(store.dashboard_namespace, TIMEOUT, TIMEOUT)
