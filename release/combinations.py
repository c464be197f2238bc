"""The versions that are tested with each other by ``make matrix``.

They are those that ``setup.cfg`` promises: of Python and Django in its classifiers, and
of the dependencies in its lower bounds.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Versions that are tested where they are found. They get a classifier when all tests
#: have passed.
UPCOMING_PYTHONS = ["3.14"]

#: The oldest Python that a release series of Django runs on, unless all do.
OLDEST_PYTHON = {"6.0": (3, 12), "6.1": (3, 12)}

#: The first release of a series of Django that runs on a newer Python.
FIRST_RELEASE = {("5.2", "3.14"): "5.2.8"}

#: Extras with dependencies of the package itself; the others are for its development.
EXTRAS = ("client", "metrics", "redis")

#: The dependencies whose oldest version depends on that of Django.
DJANGO = ("Django", "asgiref")

_LOWER_BOUND = re.compile(
    r"(?P<package>[\w.-]+)(?P<extras>\[[\w,]+\])?>=(?P<version>\S+)"
)


@dataclass(frozen=True)
class Combination:
    """Versions that are installed together.

    Attributes:
        python: The version of Python, like ``3.12``.
        django: The release series of Django, like ``5.2``.
        dependencies: ``oldest`` or ``newest``.
    """

    python: str
    django: str
    dependencies: str

    def __str__(self) -> str:
        return f"{self.python}, Django {self.django}, {self.dependencies}"

    def requirements(self) -> list[str]:
        """Return what to install besides the package."""
        if self.dependencies == "newest":
            return [f"Django=={self.django}.*"]
        first = FIRST_RELEASE.get((self.django, self.python), self.django)
        return [f"Django=={first}", *find_oldest()]


def read_setup() -> ConfigParser:
    """Return the contents of ``setup.cfg``."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return setup


def find_pythons() -> list[str]:
    """Return the versions of Python in the classifiers, and the upcoming ones."""
    return [
        *_find_classifiers("Programming Language :: Python :: 3."),
        *UPCOMING_PYTHONS,
    ]


def find_djangos() -> list[str]:
    """Return the release series of Django in the classifiers, the oldest first."""
    return _find_classifiers("Framework :: Django :: ")


def _find_classifiers(prefix: str) -> list[str]:
    start = prefix.rpartition(" ")[0] + " "
    lines = read_setup()["metadata"]["classifiers"].split("\n")
    return [line.removeprefix(start) for line in lines if line.startswith(prefix)]


def find_oldest() -> list[str]:
    """Return the dependencies at their lower bounds, but not Django.

    Raises ``ValueError`` for a dependency without a lower bound.
    """
    setup = read_setup()
    extras = setup["options.extras_require"]
    lines = setup["options"]["install_requires"].splitlines()
    for extra in EXTRAS:
        lines += extras[extra].splitlines()
    pinned = []
    for line in filter(None, lines):
        bound = _LOWER_BOUND.fullmatch(line)
        if bound is None:
            raise ValueError(
                f"setup.cfg: {line!r} is not a package with a lower bound."
            )
        if bound["package"] not in DJANGO:
            pinned.append(
                f"{bound['package']}{bound['extras'] or ''}=={bound['version']}"
            )
    return pinned


def combine() -> list[Combination]:
    """Return all combinations, of the oldest Python first."""
    return [
        Combination(python, django, dependencies)
        for python in find_pythons()
        for django in find_djangos()
        if _numbers(python) >= OLDEST_PYTHON.get(django, (3,))
        for dependencies in ("oldest", "newest")
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
