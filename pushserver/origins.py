"""Decide whether a web page may send a request from an allowed address.

A page of any site can make a browser send a request from the browser's address: by a
form, or by ``fetch()`` with ``no-cors``. So for a request of a browser the origin of
the page is checked as well as the address. Other programs send no such headers. Source:
protocol, "Browsers".
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

#: What Django allows if ``ALLOWED_HOSTS`` is empty and ``DEBUG`` is on.
_HOSTS_IN_DEBUG = [".localhost", "127.0.0.1", "[::1]"]

#: The most characters of an origin or host that an error shows.
_SHOWN = 200


def normalize_origin(origin: str) -> str:
    """Return an origin as browsers send it: in lower case, without a default port."""
    scheme, separator, host = origin.strip().lower().partition("://")
    usual = {"http": ":80", "https": ":443"}.get(scheme)
    return f"{scheme}{separator}{host.removesuffix(usual) if usual else host}"


def named_hosts() -> list[str]:
    """Return the hosts in ``ALLOWED_HOSTS``, without ``*``."""
    hosts = [each for each in settings.ALLOWED_HOSTS if each != "*"]
    if settings.DEBUG and not hosts:
        return _HOSTS_IN_DEBUG
    return hosts


def is_listed(origin: str, allow_origin: Collection[str]) -> bool:
    """Return whether an origin is in ``allow_origin`` or ``CSRF_TRUSTED_ORIGINS``.

    Args:
        origin: The normalized origin. ``null`` is never listed.
        allow_origin: The location's ``allow_origin``.
    """
    if origin == "null":
        return False
    return "*" in allow_origin or origin in allow_origin or _is_trusted(origin)


def _is_trusted(origin: str) -> bool:
    """Return whether an origin is in ``CSRF_TRUSTED_ORIGINS``, by Django's rules."""
    try:
        asked = urlsplit(origin)
    except ValueError:
        return False
    for each in settings.CSRF_TRUSTED_ORIGINS:
        trusted = normalize_origin(each)
        if "*" not in trusted:
            if origin == trusted:
                return True
            continue
        scheme, _, netloc = trusted.partition("://")
        if asked.scheme == scheme and is_same_domain(asked.netloc, netloc.lstrip("*")):
            return True
    return False


def find_page_fault(
    request: HttpRequest, allow_origin: Collection[str] | None = None
) -> str | None:
    """Return why the page that sent a request may not send it, None if it may.

    Return None as well if the request was not sent by a page.

    Args:
        request: The request; only its headers and its scheme are used.
        allow_origin: The location's ``allow_origin``, None if there is no such setting.
    """
    header = request.META.get("HTTP_ORIGIN")
    places = "CSRF_TRUSTED_ORIGINS"
    if allow_origin is not None:
        places = f"'allow_origin' of the publisher location or {places}"
    if header is None:
        if "cross-site" not in request.META.get("HTTP_SEC_FETCH_SITE", "").lower():
            return None
        return (
            "The browser asks for a page of another site (Sec-Fetch-Site: cross-site)"
            " and does not say of which, so it is refused. A page whose origin is in"
            f" {places} can ask with fetch(), which sends an Origin."
        )
    origin = normalize_origin(header)
    if origin == "null":
        return (
            "The page has no origin (Origin: null), as files and sandboxed frames have"
            f" none, so it is refused. A page whose origin is in {places} may ask."
        )
    if is_listed(origin, allow_origin or ()):
        return None
    host = _find_host(request)
    own = normalize_origin(f"{request.scheme}://{host}")
    if origin == own:
        if _is_known_host(host):
            return None
        return (
            f"The host {host[:_SHOWN]!r} is not in ALLOWED_HOSTS, where '*' does not"
            " count for this, so its pages are refused. Add the host there."
        )
    fault = (
        f"Pages of {header[:_SHOWN]!r} may not ask here, at {own[:_SHOWN]!r}."
        f" Add that origin to {places} to allow it."
    )
    if origin.partition("://")[2] == own.partition("://")[2]:
        fault += (
            " If they are the same site behind a proxy that speaks TLS, set"
            " SECURE_PROXY_SSL_HEADER."
        )
    return fault


def _find_host(request: HttpRequest) -> str:
    """Return the host of the request, found as by ``get_host()`` but not checked."""
    if settings.USE_X_FORWARDED_HOST and "HTTP_X_FORWARDED_HOST" in request.META:
        return str(request.META["HTTP_X_FORWARDED_HOST"])
    return str(request.META.get("HTTP_HOST", ""))


def _is_known_host(host: str) -> bool:
    """Return whether ``ALLOWED_HOSTS`` names a host.

    ``*`` does not count, because with DNS rebinding a foreign host name can lead to
    this machine.
    """
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, named_hosts())
