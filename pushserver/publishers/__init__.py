"""Publishers, which send messages to the push server from Python code."""

from __future__ import annotations

from functools import lru_cache

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pushserver.conf import PublisherLocation
from pushserver.test_environment import find_choice

from .base import LookupFailed, Publisher, PublishError, Receipt, UpdatesFailed
from .http import HTTPPublisher
from .locmem import LocmemPublisher
from .update import Publication, Update

__all__ = [
    "HTTPPublisher",
    "LocmemPublisher",
    "LookupFailed",
    "Publication",
    "PublishError",
    "Publisher",
    "Receipt",
    "Update",
    "UpdatesFailed",
    "get_publisher",
]

#: Not imported: a site with nginx as its push server installs only this app.
DIRECT_PUBLISHER = "pushserver_channels.publishers.DirectPublisher"


@lru_cache(maxsize=1)
def _http_publisher() -> HTTPPublisher:
    return HTTPPublisher()


def get_publisher(location: PublisherLocation) -> Publisher:
    """Return the publisher that is selected by ``PUSH_SERVER['publisher']``.

    With ``auto`` it publishes directly if processes share the store of the location or
    if the push server runs in this process, and otherwise over HTTP; in Django's test
    environment it only records messages. Raises ``ImproperlyConfigured`` for ``direct``
    if the server is not installed.
    """
    choice = find_choice()
    if choice == "locmem":
        return LocmemPublisher()
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
            if choice == "direct" or direct.is_available(location):
                publisher: Publisher = direct
                return publisher
    return _http_publisher()
