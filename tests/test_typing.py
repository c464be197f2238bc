"""A site that is typed strictly finds the types of all public calls.

``make lint`` has mypy check it, with the types of Django.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from .conformance.servers import need
from .servers import ROOT


@pytest.mark.process
@pytest.mark.left_to_all("pyright")
def test_pyright() -> None:
    """pyright agrees with mypy."""
    need(find_spec("pyright") is not None, "pyright", "pip install pyright")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "tests/typed_site"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
