"""System checks of who may listen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from .access.authorizing import load_authorize
from .conf import SubscriberLocation, get_settings
from .conf.readers import InvalidSetting

#: Middleware that gives the same page to everybody.
_CACHES = (
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
)


def check_access(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return what is wrong, or may surprise, with who may listen."""
    locations = _list_locations()
    return [
        *_missing_functions(locations),
        *_cached_tokens(locations),
    ]


def check_open_locations(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning if everybody may listen, and the settings do not say so."""
    locations = _list_locations()
    if not locations or any(each.is_guarded or each.public for each in locations):
        return []
    return [
        Warning(
            "Everybody who knows or guesses a channel id may listen to the channel.",
            "Set PUSH_SERVER['authorize'] or ['signed'], or give a subscriber location"
            " 'public': True if all channels are public.",
            id="pushserver.W016",
        )
    ]


def _list_locations() -> list[SubscriberLocation]:
    """Return the subscriber locations, none if the settings are invalid."""
    try:
        locations = get_settings().locations
    except InvalidSetting:
        return []  # check_settings() reports it.
    return [each for each in locations if isinstance(each, SubscriberLocation)]


def _missing_functions(locations: list[SubscriberLocation]) -> Iterator[CheckMessage]:
    """Yield an error for each function ``authorize`` that cannot be imported."""
    for path in dict.fromkeys(each.authorize for each in locations if each.authorize):
        try:
            load_authorize(path)
        except ImproperlyConfigured as error:
            yield Error(
                str(error),
                "Write 'authorize' as the dotted path of a function of a request and a"
                " channel id, as in 'chat.access.may_listen'.",
                id="pushserver.E003",
            )


def _cached_tokens(locations: list[SubscriberLocation]) -> Iterator[CheckMessage]:
    """Yield a warning if pages with tokens may be cached for other visitors."""
    cache = next((each for each in settings.MIDDLEWARE if each in _CACHES), None)
    if cache is not None and any(each.signed for each in locations):
        yield Warning(
            f"{cache} caches pages, and the URLs of channels in them have tokens: a"
            " visitor may get the token of another one, or one that has expired.",
            "Decorate views whose pages have signed URLs with"
            " django.views.decorators.cache.never_cache.",
            id="pushserver.W015",
        )
