"""The tests that a site writes with pushserver.test, run as the site runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.servers import ROOT

if TYPE_CHECKING:
    from playwright.async_api import Browser

SETTINGS = "tests.site_tests.settings"


def run(*arguments: str) -> str:
    """Run tests in a process; return its output. Fail if one of them fails."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": SETTINGS}
    env.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def test_django_runs_them() -> None:
    """Assertions, captured updates and two live servers work in Django's test cases."""
    output = run("-m", "django", "test", "tests.site_tests", "-p", "cases.py")
    assert "Ran 16 tests" in output, output


def test_pytest_runs_them(browser: Browser) -> None:
    """The fixtures work with pytest, and a page hears what the tests publish."""
    output = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *("--noconftest", "-o", "addopts=", f"--ds={SETTINGS}"),
        "tests/site_tests/functions.py",
    )
    assert "4 passed" in output, output
