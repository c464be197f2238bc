"""Record what the staff does: in our log, and in that of Django's admin."""

from __future__ import annotations

import logging

from django.apps import apps
from django.http import HttpRequest

logger = logging.getLogger("pushserver.dashboard")

# As in django.contrib.admin.models, which can be imported only where it is installed.
CHANGE, DELETION = 2, 3


def record(request: HttpRequest, sentence: str, channel_id: str, flag: int) -> None:
    """Record what a user has done.

    Args:
        request: The user's request.
        sentence: What was done, as in "Revoked the rights of all on this channel."
        channel_id: The channel, empty if it concerns all.
        flag: :data:`CHANGE` or :data:`DELETION`.
    """
    user = request.user
    extra = {"channel_id": channel_id, "client": request.META.get("REMOTE_ADDR")}
    logger.info(
        "%s did on the dashboard, channel %r: %s",
        user.get_username(),
        channel_id,
        sentence,
        extra=extra,
    )
    if apps.is_installed("django.contrib.admin"):
        from django.contrib.admin.models import LogEntry
        from django.contrib.contenttypes.models import ContentType

        from .models import Dashboard

        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(Dashboard),
            object_id=channel_id,
            object_repr=channel_id[:200],
            action_flag=flag,
            change_message=sentence,
        )
