"""Who may listen, and the end of rights."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone

from pushserver.access import (
    Grant,
    RevocationError,
    arevoke,
    publisher_token,
    revoke,
    revoke_on_logout,
)


def may_listen(request: HttpRequest, channel_id: str) -> bool | Grant:
    if not request.user.is_authenticated:
        return channel_id == "news"
    until = timezone.now() + timedelta(hours=1)
    return Grant(
        user=request.user, until=until, info={"name": request.user.get_username()}
    )


async def dismiss(user: User) -> None:
    try:
        await arevoke(user=user, channel_id="room")
    except RevocationError:
        revoke(session="key")


revoke_on_logout()
token: str = publisher_token("news", expires=60)
