"""Ways for a message to reach the push server from Python."""

from __future__ import annotations

from functools import lru_cache

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pushserver.conf import get_settings

from .base import Publisher, PublishError, Receipt
from .http import HTTPPublisher
from .update import Update

__all__ = [
    "HTTPPublisher",
    "PublishError",
    "Publisher",
    "Receipt",
    "Update",
    "get_publisher",
]

#: Named, not imported: a site whose push server is nginx installs this app alone.
DIRECT_PUBLISHER = "pushserver_channels.publishers.DirectPublisher"


@lru_cache(maxsize=1)
def _http_publisher() -> HTTPPublisher:
    return HTTPPublisher()


def get_publisher() -> Publisher:
    """Return the publisher that ``PUSH_SERVER['publisher']`` chooses.

    ``auto`` is direct where the store is shared between processes or where the push
    server runs in this process, else HTTP. Raises ``ImproperlyConfigured`` for
    ``direct`` where the server is not installed.
    """
    choice = get_settings().publisher
    if choice != "http":
        try:
            direct = import_string(DIRECT_PUBLISHER)()
        except ImportError as error:
            if choice == "direct":
                raise ImproperlyConfigured(
                    "PUSH_SERVER['publisher'] is 'direct', but the push server is not"
                    f" installed here ({error}). Use 'auto' or 'http'."
                ) from error
        else:
            if choice == "direct" or direct.is_available():
                publisher: Publisher = direct
                return publisher
    return _http_publisher()
