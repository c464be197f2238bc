"""Make the sites that the README and the pages of the documentation make."""

from __future__ import annotations

from pathlib import Path

from django.core.management import call_command

from tests.servers import ROOT

from .blocks import Block, read_blocks
from .following import apply

#: The folders whose pages lead through a task, in which each block is run or marked.
LEADING = ("tutorial", "howto")

FILES = ("write", "add to", "replace")


def find_page(name: str) -> Path:
    """Return the file of a page: ``README``, or one as ``howto/nginx``."""
    return ROOT / "README.rst" if name == "README" else ROOT / f"docs/{name}.rst"


def list_pages(folder: str) -> list[str]:
    """Return the names of the pages in a folder of the documentation, in order."""
    found = sorted((ROOT / "docs" / folder).glob("*.rst"))
    return [f"{folder}/{each.stem}" for each in found]


def read_page(name: str) -> list[Block]:
    """Return the blocks of a page."""
    return read_blocks(find_page(name))


def make_site(folder: Path, *pages: str) -> Path:
    """Make a new site in a folder by writing the files of the README and of pages."""
    call_command("startproject", "project", str(folder))
    for page in ("README", *pages):
        for block in read_page(page):
            if block.verb in FILES:
                apply(block, folder)
    return folder
