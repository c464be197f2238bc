"""Check the origins of WebSockets. Source: streams, section 4."""

from __future__ import annotations

from collections.abc import Collection
from io import BytesIO

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http.request import split_domain_port, validate_host

from pushserver.origins import is_listed, named_hosts, normalize_origin

from .types import Scope

#: The most characters of an origin in a log line.
MAX_SHOWN_ORIGIN = 200


def find_origin_fault(
    scope: Scope, allow_origin: Collection[str], *, is_secure: bool
) -> str | None:
    """Return why the page that opens a WebSocket may not, None if it may.

    Browsers let the pages of every site open a WebSocket with the cookies of this site;
    the server has to refuse that. Clients that are not browsers send no origin.

    Args:
        scope: The scope of the WebSocket.
        allow_origin: The origins that the location allows.
        is_secure: Whether the connection uses TLS, if the scope has no scheme.
    """
    headers = dict(scope["headers"])
    header = headers.get(b"origin")
    if header is None:
        return None
    origin = normalize_origin(header.decode("latin-1"))
    if origin != "null" and is_listed(origin, allow_origin):
        return None
    scheme = scope.get("scheme", "wss" if is_secure else "ws")
    # Django's request applies the settings for the scheme behind a proxy.
    request = ASGIRequest(
        {
            "type": "http",
            "method": "GET",
            "scheme": "https" if scheme == "wss" else "http",
            "path": "/",
            "query_string": b"",
            "headers": scope["headers"],
            "client": scope.get("client"),
            "server": scope.get("server"),
        },
        BytesIO(),
    )
    host = request.META.get("HTTP_HOST", "")
    if settings.USE_X_FORWARDED_HOST:
        host = request.META.get("HTTP_X_FORWARDED_HOST", host)
    own = normalize_origin(f"{request.scheme}://{host}")
    shown = header.decode("latin-1")[:MAX_SHOWN_ORIGIN]
    remedy = "'allow_origin' of the location or CSRF_TRUSTED_ORIGINS"
    if origin != own or origin == "null":
        fault = f"Pages of {shown!r} may not open it at {own!r}: add that to {remedy}."
        if origin.partition("://")[2] == own.partition("://")[2]:
            fault += " Behind a proxy with TLS, set SECURE_PROXY_SSL_HEADER instead."
        return fault
    domain, _ = split_domain_port(host)
    hosts = settings.ALLOWED_HOSTS
    if "*" not in hosts:
        hosts = named_hosts()
    if domain and validate_host(domain, hosts):
        return None
    return (
        f"The host of {shown!r} is not in ALLOWED_HOSTS: add it there or to {remedy}."
    )
