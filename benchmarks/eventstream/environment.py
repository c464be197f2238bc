"""A separate virtual environment for django-eventstream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".venv"
PYTHON = FOLDER / "bin" / "python"
PACKAGES = ("daphne", "django-eventstream", "uvicorn[standard]")


def make_environment() -> Path:
    """Return the Python of the environment, which is created on the first call."""
    done = FOLDER / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
        subprocess.run(
            [PYTHON, "-m", "pip", "install", "--quiet", *PACKAGES], check=True
        )
        done.touch()
    return PYTHON
