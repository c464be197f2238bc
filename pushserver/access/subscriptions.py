"""The view that nginx asks whether a client may listen, before Nchan serves it."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from pushserver.conf import SubscriberLocation, get_settings
from pushserver.paths import (
    MAX_CHANNELS,
    decode_path,
    decode_separated_path,
    match_channel,
    match_channels,
)

from .authorizing import find_permission
from .bearer import find_tokens
from .tokens import InvalidToken, read_token

#: The header with the path and the query of the client's request.
URI_HEADER = "X-Original-URI"


@never_cache
@login_not_required
@require_safe
def authorize_subscriber(request: HttpRequest) -> HttpResponse:
    """Answer 204 if a client may listen to the channels of a URL, else 401 or 403.

    The request has the client's headers and the header ``X-Original-URI``; the query
    has ``location``, the index of the location in ``PUSH_SERVER``. It decides as the
    push server does, except that it does not know of revocations, and that a client
    which may not listen to one of several channels is refused. Source: streams,
    section 6.
    """
    location = _find_location(request.GET.get("location", ""))
    path, _, query = request.headers.get(URI_HEADER, "").partition("?")
    channel_ids = () if location is None else _match(location, path)
    if location is None or not 0 < len(channel_ids) <= MAX_CHANNELS:
        return HttpResponse(status=403)
    tokens = []
    if location.signed:
        tokens = find_tokens(request.headers.get("Authorization", ""), query)
    missing = set(channel_ids).difference(
        *(_read_channels(each, location.store) for each in tokens)
    )
    authorize = location.authorize
    if authorize is None:
        is_allowed = not missing
    else:
        is_allowed = all(find_permission(request, authorize, each) for each in missing)
    if is_allowed:
        return HttpResponse(status=204)
    if not location.signed or (authorize is not None and not tokens):
        return HttpResponse(status=403)
    challenge = 'Bearer error="invalid_token"' if tokens else "Bearer"
    return HttpResponse(status=401, headers={"WWW-Authenticate": challenge})


def _find_location(index: str) -> SubscriberLocation | None:
    """Return the location with an index in ``PUSH_SERVER``, None if there is none."""
    locations = get_settings().locations
    if not index.isdecimal() or int(index) >= len(locations):
        return None
    location = locations[int(index)]
    return location if isinstance(location, SubscriberLocation) else None


def _match(location: SubscriberLocation, path: str) -> tuple[str, ...]:
    """Return the channel ids in a percent-encoded path, none if it does not match."""
    root = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    if root and path.startswith(f"{root}/"):
        path = path.removeprefix(root)
    raw = path.encode("latin-1", "replace")
    if location.separator is not None:
        decoded = decode_separated_path(raw, location.separator)
        return match_channels(location.url, decoded, location.separator) or ()
    channel_id = match_channel(location.url, decode_path(raw))
    return (channel_id,) if channel_id else ()


def _read_channels(token: str, store: str) -> frozenset[str]:
    """Return the channels of a store to which a token lets its bearer listen."""
    try:
        content = read_token(token)
    except InvalidToken:
        return frozenset()
    return content.channel_ids if content.store == store else frozenset()
