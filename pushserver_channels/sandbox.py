"""What keeps a browser from running a message that is opened at its URL.

A message comes from whoever may publish, and its URL belongs to the site: a script in
it would run with the rights of the site's own pages.
"""

from __future__ import annotations

import re

#: A browser takes the type as it is given, and does not look for HTML in the body.
NOSNIFF = (b"x-content-type-options", b"nosniff")

#: The document has an origin of its own, runs no script and loads nothing.
SANDBOX = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; sandbox",
)

# A comma would begin another type, and browsers take the last one.
_MEDIA_TYPE = re.compile(
    rb"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+[ \t]*(;[^,]*)?",
    re.IGNORECASE,
)

# HTML and all that is XML, which may hold scripts of XHTML or SVG; what may have either
# as a part; and the names that let a browser guess (MIME Sniffing, section 7).
_ACTIVE = re.compile(
    rb"html | xml | xsl | svg | xul | rdf | ^multipart/ | ^message/ | unknown | \*",
    re.VERBOSE | re.IGNORECASE,
)


def is_active(content_type: bytes | None) -> bool:
    """Return whether a browser may make a document with scripts of this type.

    Also where it would have to guess: of no type, or of one that cannot be read.
    """
    if content_type is None or _MEDIA_TYPE.fullmatch(content_type) is None:
        return True
    return _ACTIVE.search(content_type.partition(b";")[0]) is not None
