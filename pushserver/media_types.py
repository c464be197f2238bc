"""Which types of messages are text. Source: streams, section 3."""

from __future__ import annotations

import json
import re
from typing import Any

# text/*, JSON, XML, JavaScript and forms.
_TEXT = re.compile(
    r"""text/.+
      | .+\+(json|xml)
      | application/( (x-)?(json|javascript|ecmascript) | xml | xml-dtd
                    | xml-external-parsed-entity | x-www-form-urlencoded )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_JSON = re.compile(r"application/(x-)?json|.+\+json", re.IGNORECASE | re.DOTALL)


def is_text(content_type: str | None) -> bool:
    """Return whether a message of this type is text if its bytes are UTF-8.

    Args:
        content_type: The type, with parameters or without; None or empty for none.
    """
    if not content_type:
        return True
    return _TEXT.fullmatch(_strip_parameters(content_type)) is not None


def is_json(content_type: str) -> bool:
    """Return whether a message of this type is JSON."""
    return _JSON.fullmatch(_strip_parameters(content_type)) is not None


def read_data(body: bytes, content_type: str) -> Any:
    """Return a message as a page gets it: parsed JSON, other text as str, or bytes."""
    try:
        return json.loads(body) if is_json(content_type) else body.decode()
    except (ValueError, RecursionError):  # The latter for JSON that is nested deeply.
        return body


def _strip_parameters(content_type: str) -> str:
    return content_type.partition(";")[0].strip()
