"""The paths of the views in ``pushserver.urls``."""

from __future__ import annotations

from django.urls import NoReverseMatch, reverse


def find_view_path(name: str) -> str | None:
    """Return the path of a view, None if the site does not include ``pushserver.urls``.

    Args:
        name: ``tokens`` or ``authorize``.
    """
    try:
        base = reverse("pushserver-passthrough")
    except NoReverseMatch:
        return None
    # It is included with a slash at the end or without one, and either works.
    return f"{base.rstrip('/')}/{name}"
