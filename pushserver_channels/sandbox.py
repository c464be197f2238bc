"""Headers that keep a browser from running a message opened at its URL.

The URL of a message belongs to the site. Without these headers, a script in a message
would run with the rights of the site's own pages, whoever published it.
"""

from __future__ import annotations

import re

#: The browser uses the Content-Type as given, and does not look for HTML in the body.
NOSNIFF = (b"x-content-type-options", b"nosniff")

#: The document gets an origin of its own, runs no scripts and loads nothing.
SANDBOX = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; sandbox",
)

# No comma: it would separate two types, and browsers take the last one.
_MEDIA_TYPE = re.compile(
    rb"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+[ \t]*(;[^,]*)?",
    re.IGNORECASE,
)

# HTML; all XML, which may hold XHTML or SVG scripts; multipart types, which may hold
# either; and the types for which a browser guesses (MIME Sniffing, section 7).
_ACTIVE = re.compile(
    rb"html | xml | xsl | svg | xul | rdf | ^multipart/ | ^message/ | unknown | \*",
    re.VERBOSE | re.IGNORECASE,
)


def is_active(content_type: bytes | None) -> bool:
    """Return whether a browser may run scripts in a document of this type.

    Return True as well if the type is missing or malformed, so that a browser guesses.
    """
    if content_type is None or _MEDIA_TYPE.fullmatch(content_type) is None:
        return True
    return _ACTIVE.search(content_type.partition(b";")[0]) is not None
