"""The parts of updates.js that need no browser, under ``node --test``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NEEDS = "The client's own tests need Node: apt-get install nodejs"
SCRIPTS = sorted(Path(__file__).parent.glob("*.test.mjs"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts(script: Path) -> None:
    """All tests that are written in JavaScript pass."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail(NEEDS)
        pytest.skip(NEEDS)
    done = subprocess.run([node, "--test", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
