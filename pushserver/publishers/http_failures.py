"""Why a request to a push server failed, in sentences."""

from __future__ import annotations

import ssl
from http.client import HTTPResponse
from urllib.request import Request

from pushserver.conf import get_settings

from .base import PublishError
from .deadline import Deadline

#: What is said of a message that may have arrived.
_UNKNOWN = "; it may have been published or not"


class ExchangeFailed(Exception):
    """A request has got no answer.

    Args:
        error: What went wrong.
        deadline: The deadline of the request.
        has_sent: Whether a part of the request may have been sent.

    Attributes:
        has_sent: As above.
        is_late: Whether the deadline has passed.
    """

    def __init__(self, error: Exception, deadline: Deadline, has_sent: bool) -> None:
        super().__init__(error)
        self.error = error
        self.has_sent = has_sent
        late = deadline.is_over or isinstance(error, TimeoutError)
        self.is_late = late and bool(deadline.seconds)

    def convert(self, request: Request, *, was_sent: bool = False) -> PublishError:
        """Return the error for a publisher.

        Args:
            request: The request.
            was_sent: Whether it was sent before, too.
        """
        publishes = request.data is not None
        sent = self.has_sent or was_sent
        if self.is_late:
            reason = _why_late(sent, publishes=publishes)
        else:
            reason = _why_unreachable(self.error, sent and publishes)
        return PublishError(request.full_url, reason)


def why_refused(response: HTTPResponse, body: bytes) -> str:
    """Return the reason of a request that was answered with an error."""
    reason = f"it answered {response.status} {response.reason}."
    if response.getheader("Content-Type", "").startswith("text/plain"):
        text = body[:500].decode(errors="replace")
        reason += " " + " ".join("".join(filter(str.isprintable, text)).split())
    return reason


def _why_late(sent: bool, *, publishes: bool) -> str:
    """Return the reason of a request whose time limit passed.

    Args:
        sent: Whether a part of the request may have been sent.
        publishes: Whether the request publishes a message.
    """
    limit = (
        f"within {get_settings().publisher_timeout:g} seconds"
        " (PUSH_SERVER['publisher_timeout'])"
    )
    if sent:
        return f"no answer {limit}{_UNKNOWN if publishes else ''}."
    outcome = "; it was not published" if publishes else ""
    return (
        f"no connection {limit}{outcome}. Is the push server running there? Start it,"
        " or correct PUSH_SERVER['publisher_host']."
    )


def _why_unreachable(error: Exception, may_be_published: bool) -> str:
    reason = str(error) or type(error).__name__
    if isinstance(error, ssl.SSLError):
        return (
            f"{reason}. PUSH_SERVER['publisher_host'] says 'secure': True; does a"
            " server with a valid certificate speak TLS there?"
        )
    if may_be_published:
        reason += _UNKNOWN
    is_named = get_settings().publisher_host
    remedy = "correct" if is_named else "name its address and port in"
    return (
        f"{reason}. Is the push server running there? Start it, or {remedy}"
        " PUSH_SERVER['publisher_host']."
    )
