"""What the pages of the dashboard may load, whatever they show."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.templatetags.static import static

from pushserver.conf import get_settings

#: The header that tells it to browsers.
HEADER = "Content-Security-Policy"


def build_policy() -> str:
    """Return a policy that allows our own files, and to listen at the push server."""
    files = " ".join(("'self'", *_find_origins(static("pushserver/dashboard.js"))))
    host = get_settings().subscriber_host
    listened = " ".join(("'self'", *_find_origins(host.url if host else "")))
    return (
        f"default-src 'none'; script-src {files}; style-src {files}; img-src {files};"
        f" connect-src {listened}; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    )


def _find_origins(url: str) -> list[str]:
    """Return the origin of a URL, also for WebSockets; none if it is our own."""
    parts = urlsplit(url)
    if not parts.netloc:
        return []
    if not parts.scheme:  # As in //static.example.com/
        return [parts.netloc]
    schemes = (parts.scheme, parts.scheme.replace("http", "ws", 1))
    return [f"{scheme}://{parts.netloc}" for scheme in schemes]
