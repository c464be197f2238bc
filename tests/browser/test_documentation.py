"""The built documentation, in a browser."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.servers import need
from tests.servers import ROOT

from .stage import Visitor

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.left_to_all("the documentation in a browser"),
]

#: What Sphinx makes itself.
MADE = ("genindex.html", "py-modindex.html", "search.html")


def build(folder: Path) -> list[Path]:
    """Build the documentation, whose references have to be right; return its pages."""
    for package in ("sphinx", "furo"):
        there = importlib.util.find_spec(package)
        need(there, package, "pip install 'django-pushserver[docs]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html"]
    done = subprocess.run(
        [*command, "docs", str(folder)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "example_project.settings"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [
        page
        for page in folder.rglob("*.html")
        if page.name not in MADE and "_static" not in page.parts
    ]


async def test_no_page_is_wider_than_a_phone(tmp_path: Path, visit: Visitor) -> None:
    """At 360 pixels, tables and code scroll in themselves, and the page does not."""
    pages = build(tmp_path)
    assert len(pages) > 40
    size = {"width": 360, "height": 800}
    window = await visit(pages[0].as_uri(), viewport=size)
    wide = []
    for page in pages:
        await window.page.goto(page.as_uri())
        if await window.run("document.documentElement.scrollWidth > innerWidth"):
            wide.append(page.name)
    assert wide == []
