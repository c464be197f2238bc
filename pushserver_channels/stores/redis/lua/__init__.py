"""The sources of the scripts that run inside Redis, a file each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def read_lua(name: str) -> str:
    """Return the source of a script."""
    return (files(__name__) / f"{name}.lua").read_text(encoding="utf-8")
