"""The view from which pages get new signed URLs."""

from __future__ import annotations

import time

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from pushserver.channel_urls import find_subscriber, subscriber_url
from pushserver.presence.names import find_subject

from .authorizing import find_permission

#: The most channels of one request.
MAX_CHANNELS = 255


@never_cache
@login_not_required  # The function authorize decides, also about visitors.
@require_safe
def renew_tokens(request: HttpRequest) -> JsonResponse:
    """Answer with a new signed URL for each channel that the user may listen to.

    The query has ``channel`` once for each channel, and may have the name of their
    ``location``; without it, the first one that can match a channel is used. Its
    function ``authorize`` decides; channels that it denies, and those of locations
    without it, are left out. Source: streams, section 6.
    """
    urls = {}
    location = request.GET.get("location")
    for channel_id in request.GET.getlist("channel")[:MAX_CHANNELS]:
        url = _sign(request, channel_id, location)
        if url is not None:
            urls[channel_id] = url
    return JsonResponse(urls)


def _sign(request: HttpRequest, channel_id: str, name: str | None) -> str | None:
    """Return the signed URL of a channel, None if the user may not listen to it."""
    try:
        location = find_subscriber(channel_id, name)[0]
    except ValueError:
        return None  # No location has such a channel.
    if not location.signed or location.authorize is None:
        return None
    subject = find_subject(channel_id) if location.presence else channel_id
    permission = find_permission(request, location.authorize, subject)
    if permission is None:
        return None
    session = getattr(request, "session", None)
    return subscriber_url(
        channel_id,
        expires=max(permission.until - time.time(), 1e-6),
        user=permission.user,
        session=None if session is None else session.session_key,
        info=permission.info,
        location=name,
    )
