"""Access by the client's address, and to publisher locations by a page's origin."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from django.core.handlers.asgi import ASGIRequest

from pushserver.access.bearer import find_bearer_token
from pushserver.access.tokens import may_publish
from pushserver.addresses import (
    HOP_HEADERS,
    AllowedClients,
    comes_by_unix_socket,
    is_inside,
    read_hops,
)
from pushserver.conf import PublisherLocation
from pushserver.origins import find_page_fault
from pushserver_channels.exceptions import Forbidden, ForbiddenPage, UnixSocketForbidden
from pushserver_channels.memoize import memoize
from pushserver_channels.types import Scope

_HOP_HEADERS = {name.lower().encode(): name for name in HOP_HEADERS}
_HOP_NAMES = frozenset(_HOP_HEADERS)


class AddressAccess:
    """Decides by the client's address which requests are allowed.

    Args:
        allowed: The networks that are allowed, None if every client is.
    """

    def __init__(self, allowed: AllowedClients | None) -> None:
        self._allow_from = allowed

        # Parsing addresses takes as long as the rest of a publish, and few hosts
        # publish.
        @memoize(max_size=128)
        def allows(address: str | None, hops: str, unix: bool) -> bool:
            return allowed is None or is_inside(allowed, address, hops, unix=unix)

        self._allows = allows

    def check_address(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raise :class:`Forbidden` unless the client's address is allowed.

        Args:
            scope: The ASGI scope of the request.
            headers: The headers of the request, by name.
        """
        allowed = self._allow_from
        if allowed is None:
            return
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

    def allows(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the client's address is allowed."""
        try:
            self.check_address(scope, headers)
        except Forbidden:
            return False
        return True


class PublisherAccess(AddressAccess):
    """Decides which requests may publish at a location.

    The client's address or its token decides and, for a request of a browser, the
    page's origin.

    Args:
        location: The publisher location.
    """

    def __init__(self, location: PublisherLocation) -> None:
        super().__init__(location.allow_from)
        self._allow_origin = location.allow_origin
        self._is_signed = location.signed

    def check(
        self, scope: Scope, headers: Mapping[bytes, bytes], channel_id: str
    ) -> None:
        """Raise :class:`Forbidden` unless the client and its page may publish.

        Args:
            scope: The ASGI scope of the request.
            headers: The headers of the request, by name.
            channel_id: The channel.
        """
        if not self._has_token(headers, channel_id):
            self.check_address(scope, headers)
        if b"origin" in headers or b"sec-fetch-site" in headers:
            self._check_page(scope, headers)

    def _has_token(self, headers: Mapping[bytes, bytes], channel_id: str) -> bool:
        """Return whether a request has a token that lets it publish on a channel."""
        if not self._is_signed or b"authorization" not in headers:
            return False
        token = find_bearer_token(headers[b"authorization"].decode("latin-1"))
        return token is not None and may_publish(token, channel_id)

    def _check_page(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raise :class:`ForbiddenPage` unless the page of a request may publish."""
        # Django's settings decide what the site's own origin is, so this needs a Django
        # request. Its URL is not needed, and Django could not read every URL served
        # here.
        scope = {**scope, "path": "/", "root_path": "", "query_string": b""}
        scope["headers"] = list(headers.items())
        request = ASGIRequest(scope, BytesIO())
        fault = find_page_fault(request, self._allow_origin)
        if fault is not None:
            raise ForbiddenPage(fault)


def _read_hops(headers: Mapping[bytes, bytes]) -> str:
    """Return the addresses in the headers of proxies, separated by commas."""
    reported = {
        name: headers[key].decode("latin-1")
        for key, name in _HOP_HEADERS.items()
        if key in headers
    }
    return read_hops(reported.get)
