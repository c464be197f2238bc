"""The page that is not to hear of an update, because its own action caused it.

Each page has an id of its own, ``updates.clientId``, and sends it with its requests to
the site, whose view names it in the update; the page then drops the message.
"""

from __future__ import annotations

import re

from django.http import HttpRequest

#: Names the page in a request to the site.
CLIENT_HEADER = "Push-Client"

#: Names the page in a POST of a message, and in the answer to a poll.
EXCLUDE_HEADER = "Push-Exclude"

#: What the id of a page consists of.
CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def find_excluded(exclude: object) -> str | None:
    """Return the id of the page that is not to hear of an update, None for none.

    Args:
        exclude: The id; or a request of the page, which may have none or a wrong one;
            or None.

    Raises ``TypeError`` for anything else, and ``ValueError`` if the id is invalid.
    """
    if exclude is None:
        return None
    if isinstance(exclude, HttpRequest):
        client_id = exclude.headers.get(CLIENT_HEADER, "")
        return client_id if CLIENT_ID.fullmatch(client_id) else None
    if not isinstance(exclude, str):
        raise TypeError(
            "exclude is the id of a page, or its request, not"
            f" {type(exclude).__name__}."
        )
    if not CLIENT_ID.fullmatch(exclude):
        raise ValueError(
            f"exclude is {exclude!r}, which is no id of a page: up to 64 letters,"
            " digits, hyphens and underscores. An empty one is None."
        )
    return exclude
