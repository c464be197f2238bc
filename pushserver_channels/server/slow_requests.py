"""End connections whose client sends a request too slowly.

Twisted starts its time limit again with each byte, so that a client which sends one
byte a minute keeps its connection for ever. Here the time limit runs from the first
byte of a request, and a body has to arrive at a minimum rate.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from twisted.web.http import HTTPChannel

from pushserver_channels.exceptions import PushError, SlowRequest

#: The fewest bytes of a body that must arrive in a second, on average.
MIN_RATE = 500


class TimedChannel(HTTPChannel):
    """A connection that ends if a request arrives too slowly.

    The head must be complete within ``timeOut`` seconds after its first byte, and in
    each such time after that at least :data:`MIN_RATE` bytes of the body a second must
    arrive.
    """

    @abstractmethod
    def refuse_head(self, error: PushError) -> None:
        """Answer with an error, and close the connection."""

    @property
    def _is_receiving_body(self) -> bool:
        return not self.line_mode and not self._handlingRequest

    def resetTimeout(self) -> None:  # noqa: N802
        # Called for all that arrives.
        has_begun = self._receivedHeaderSize or self._buffer
        if not has_begun and not self._is_receiving_body:
            super().resetTimeout()  # type: ignore[no-untyped-call]

    def timeoutConnection(self) -> None:  # noqa: N802
        if not self._is_receiving_body:
            super().timeoutConnection()  # type: ignore[no-untyped-call]
            return
        request: Any = self.requests[-1]
        if request.count_new_bytes() >= MIN_RATE * (self.timeOut or 0):
            self.setTimeout(self.timeOut)  # type: ignore[no-untyped-call]
        else:
            self.refuse_head(SlowRequest())
