"""How a doctor learns what the passthrough view saw: the view's process answers it.

A doctor asks as any subscriber does, on a channel whose id only who knows the site's
``SECRET_KEY`` can make. When the passthrough view hears of such a channel, it publishes
there what it saw of one cookie, which is the doctor's own. So nobody else can ask, and
who has read an id somewhere learns nothing by it, nor can say anything.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from pushserver.updates import send_update

#: The cookie that a doctor sends.
COOKIE = "pushserver-doctor"

_LENGTH = 16
_COOKIE = re.compile(rf"[0-9a-f]{{{3 * _LENGTH}}}")
_ID = re.compile(rf"([0-9a-f]{{{_LENGTH}}})([0-9a-f]{{{2 * _LENGTH}}})")


def make_channel_id() -> str:
    """Return the id of a new channel: hexadecimal, which most patterns take."""
    return secrets.token_hex(3 * _LENGTH // 2)


def make_echo_id() -> str:
    """Return the id of a new channel on which the view tells what it saw."""
    nonce = secrets.token_hex(_LENGTH // 2)
    return nonce + _sign(nonce)


def is_echo_id(channel_id: str) -> bool:
    """Return whether a channel id is one on which the view tells what it saw."""
    match = _ID.fullmatch(channel_id)
    return match is not None and constant_time_compare(match[2], _sign(match[1]))


def _sign(nonce: str) -> str:
    digest: str = salted_hmac("pushserver.doctor", nonce).hexdigest()
    return digest[: 2 * _LENGTH]


def answer_doctor(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    """Tell a doctor which cookie arrived; a receiver of ``channel_subscribe``."""
    if is_echo_id(channel_id):
        cookie = request.COOKIES.get(COOKIE, "")
        told = cookie if _COOKIE.fullmatch(cookie) else None
        send_update(
            channel_id,
            {"type": "pushserver.doctor", "cookie": told},
            ignore_errors=True,
        )
