"""The README is also the page of the package on an index, outside the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Where reStructuredText names another document: an image, the target of one, the
#: target of a name, and a link in the text.
_TARGETS = re.compile(
    r"^\s*\.\. (?:image|figure):: +(?P<image>\S+)"
    r"|^\s+:target: +(?P<of_image>\S+)"
    r"|^\s*\.\. _[^:\n]+: +(?P<named>\S+)"
    r"|`[^`<]*<(?P<link>[^>`]+)>`_",
    re.MULTILINE,
)
_ROLES = re.compile(r"(?<![\w`]):(?P<role>[a-z:]+):`")
#: The roles of reStructuredText itself; the others are those of Sphinx.
_STANDARD_ROLES = {"code", "emphasis", "literal", "math", "strong", "sub", "sup"}


def find_faults(text: str) -> Iterator[str]:
    """Yield a sentence for each link that is relative and each role of Sphinx.

    Args:
        text: The README in reStructuredText.
    """
    for match in _TARGETS.finditer(text):
        target = "".join(next(filter(None, match.groups())).split())
        if not target.startswith(("https://", "http://", "mailto:")):
            yield f"The link to {target!r} is relative, and leads nowhere on an index."
    for match in _ROLES.finditer(text):
        if match["role"] not in _STANDARD_ROLES:
            yield f"The role :{match['role']}: is one of Sphinx, and an index has none."
