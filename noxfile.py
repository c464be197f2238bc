"""Tests with every Python and Django that the package supports: ``make matrix``.

``nox --list`` names the sessions. nox looks for ``python3.10``, ``python3.11`` and so
on in ``PATH``, and says at the end which of them it has not found; if ``CI`` is set, it
fails.
"""

from __future__ import annotations

import nox

from release.combinations import Combination, combine, find_pythons

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "uv|virtualenv"
# The Pythons are those of the machine.
nox.options.download_python = "never"

DEPRECATIONS = ("DeprecationWarning", "PendingDeprecationWarning")


@nox.session
@nox.parametrize(
    "python,combination",
    [nox.param(each.python, each, id=str(each)) for each in combine()],
)
def tests(session: nox.Session, combination: Combination) -> None:
    """Test what needs no browser."""
    session.install("--editable", ".[tests]", *combination.requirements())
    session.run(
        *("python", "-m", "pytest", "--no-browser", *session.posargs),
        # In the tests' own process setup.cfg makes warnings errors. Servers write them
        # to their log, in which tests/servers.py looks for those of this package.
        env={"PYTHONWARNINGS": ",".join(f"default::{each}" for each in DEPRECATIONS)},
    )


@nox.session(python=find_pythons())
def wheel(session: nox.Session) -> None:
    """Install a wheel into an empty environment, and let it serve a site."""
    [file] = session.posargs
    session.install(file)
    session.run("python", "-I", "release/serve_site.py")
