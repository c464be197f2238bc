"""Let the doctor find out which cookie the passthrough view received.

The doctor subscribes to a channel whose id is signed with the site's ``SECRET_KEY``.
When the passthrough view is notified of a subscriber on such a channel, it publishes
the value of the doctor's cookie there. Other clients cannot sign an id. If one learns
the doctor's id, it can read the doctor's random cookie and nothing else.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from pushserver.updates import send_update

#: The cookie that the doctor sends.
COOKIE = "pushserver-doctor"

_LENGTH = 16
_COOKIE = re.compile(rf"[0-9a-f]{{{3 * _LENGTH}}}")
_ID = re.compile(rf"([0-9a-f]{{{_LENGTH}}})([0-9a-f]{{{2 * _LENGTH}}})")


def make_channel_id() -> str:
    """Return a new channel id of hexadecimal digits, which most patterns match."""
    return secrets.token_hex(3 * _LENGTH // 2)


def make_echo_id() -> str:
    """Return a new, signed channel id, on which the view publishes the cookie."""
    nonce = secrets.token_hex(_LENGTH // 2)
    return nonce + _sign(nonce)


def is_echo_id(channel_id: str) -> bool:
    """Return whether a channel id has a valid signature."""
    match = _ID.fullmatch(channel_id)
    return match is not None and constant_time_compare(match[2], _sign(match[1]))


def _sign(nonce: str) -> str:
    digest = salted_hmac("pushserver.doctor", nonce, algorithm="sha256")
    return str(digest.hexdigest())[: 2 * _LENGTH]


def answer_doctor(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    """Publish the doctor's cookie; a receiver of ``channel_subscribe``."""
    if is_echo_id(channel_id):
        cookie = request.COOKIES.get(COOKIE, "")
        value = cookie if _COOKIE.fullmatch(cookie) else None
        send_update(
            channel_id,
            {"type": "pushserver.doctor", "cookie": value},
            ignore_errors=True,
        )
