"""Which web pages may make a request that an address alone would allow.

A browser sends what a page of any site has it send, from the browser's own address: a
form, or ``fetch()`` with ``no-cors``. So where an address lets a request in, the
browser's headers have to say as well that the page may make it. Programs send none of
them. Source: protocol, "Browsers".
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

#: What Django takes for ``ALLOWED_HOSTS`` where that is empty and ``DEBUG`` is true.
_HOSTS_IN_DEBUG = [".localhost", "127.0.0.1", "[::1]"]

#: Characters of an origin that an error repeats.
_SHOWN = 200


def normalize_origin(origin: str) -> str:
    """Return an origin as browsers write it: lower case, no port that is the usual."""
    scheme, separator, host = origin.strip().lower().partition("://")
    usual = {"http": ":80", "https": ":443"}.get(scheme)
    return f"{scheme}{separator}{host.removesuffix(usual) if usual else host}"


def named_hosts() -> list[str]:
    """Return the hosts in ``ALLOWED_HOSTS`` that are named, as by ``*`` none is."""
    hosts = [each for each in settings.ALLOWED_HOSTS if each != "*"]
    if settings.DEBUG and not hosts:
        return _HOSTS_IN_DEBUG
    return hosts


def is_listed(origin: str, allow_origin: Collection[str]) -> bool:
    """Return whether a normalized origin is in a location's or in Django's setting.

    Args:
        origin: The origin; ``null`` is nowhere.
        allow_origin: The location's origins, as its settings have them, or ``*``.
    """
    if origin == "null":
        return False
    return "*" in allow_origin or origin in allow_origin or _is_trusted(origin)


def _is_trusted(origin: str) -> bool:
    """Return whether ``CSRF_TRUSTED_ORIGINS`` has an origin, as Django reads it."""
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
    """Return why the page that makes a request may not, None if it may.

    None as well for a request that no browser made.

    Args:
        request: The request; only its headers and its scheme are looked at.
        allow_origin: Origins that may make it besides those in Django's settings, None
            where there is no such setting.
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
    """Return the host that the browser asked, as ``get_host()`` finds it."""
    if settings.USE_X_FORWARDED_HOST and "HTTP_X_FORWARDED_HOST" in request.META:
        return str(request.META["HTTP_X_FORWARDED_HOST"])
    return str(request.META.get("HTTP_HOST", ""))


def _is_known_host(host: str) -> bool:
    """Return whether ``ALLOWED_HOSTS`` names a host.

    Where it says ``*``, a name that somebody else points to this machine (DNS
    rebinding) would pass for the site's own.
    """
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, named_hosts())
