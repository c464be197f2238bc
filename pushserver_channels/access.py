"""Who may use a location."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from django.core.handlers.asgi import ASGIRequest

from pushserver.addresses import (
    HOP_HEADERS,
    comes_by_unix_socket,
    is_inside,
    read_hops,
)
from pushserver.conf import PublisherLocation
from pushserver.origins import find_page_fault

from .exceptions import Forbidden, ForbiddenPage, UnixSocketForbidden
from .memoize import memoize
from .types import Scope

_HOP_HEADERS = {name.lower().encode(): name for name in HOP_HEADERS}
_HOP_NAMES = frozenset(_HOP_HEADERS)


class PublisherAccess:
    """Who may publish at a location: by address, and by page where a browser asks.

    Args:
        location: The location.
    """

    def __init__(self, location: PublisherLocation) -> None:
        self._allow_origin = location.allow_origin
        self._allow_from = location.allow_from

        # To read addresses takes as long as the rest of a publish, and few hosts do it.
        @memoize(max_size=128)
        def allows(address: str | None, hops: str, unix: bool) -> bool:
            allowed = location.allow_from
            return allowed is None or is_inside(allowed, address, hops, unix=unix)

        self._allows = allows

    def check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raise :class:`Forbidden` unless the client, and its page, may publish.

        Args:
            scope: The request's.
            headers: The request's, by name.
        """
        allowed = self._allow_from
        if allowed is not None:
            client = scope.get("client")
            address = client[0] if client else None
            unix = not address and comes_by_unix_socket(client, scope.get("server"))
            if unix and not allowed.unix:
                raise UnixSocketForbidden
            hops = ""
            if not _HOP_NAMES.isdisjoint(headers):
                hops = _read_hops(headers)
            if not self._allows(address, hops, unix):
                raise Forbidden
        if b"origin" in headers or b"sec-fetch-site" in headers:
            self._check_page(scope, headers)

    def _check_page(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        # Django's request, because Django's settings decide what its own origin is. Of
        # the URL nothing is needed, and not all that is served here can be read there.
        scope = {**scope, "path": "/", "root_path": "", "query_string": b""}
        scope["headers"] = list(headers.items())
        request = ASGIRequest(scope, BytesIO())
        fault = find_page_fault(request, self._allow_origin)
        if fault is not None:
            raise ForbiddenPage(fault)


def _read_hops(headers: Mapping[bytes, bytes]) -> str:
    """Return the addresses that proxies told, with commas between them."""
    told = {
        name: headers[key].decode("latin-1")
        for key, name in _HOP_HEADERS.items()
        if key in headers
    }
    return read_hops(told.get)
