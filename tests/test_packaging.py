from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import pushserver

from .servers import ROOT

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files for building a package, since the build writes into it."""
    copy = tmp_path_factory.mktemp("source")
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, copy)
    for package in ("pushserver", "pushserver_channels", "example_project", "tests"):
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return copy


@pytest.fixture(scope="module")
def built(source: Path) -> Path:
    """The folder with the source archive and the wheel that were built."""
    done = subprocess.run(
        [sys.executable, "-m", "build", *_isolation(), str(source)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return source / "dist"


def _isolation() -> list[str]:
    # The environment's setuptools needs no download, but has to be recent enough.
    try:
        new_enough = int(version("setuptools").partition(".")[0]) >= 77
    except ModuleNotFoundError:
        new_enough = False
    return ["--no-isolation"] if new_enough else []


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    """The opened wheel."""
    [file] = built.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """The metadata of the wheel."""
    name = f"django_pushserver-{pushserver.__version__}.dist-info/METADATA"
    return Parser().parsestr(wheel.read(name).decode())


@pytest.mark.parametrize(
    "name",
    [
        "pushserver/py.typed",
        "pushserver_channels/py.typed",
        "pushserver_channels/stores/redis/lua/append.lua",
        "pushserver/static/pushserver/updates.js",
    ],
)
def test_wheel_contains_data_files(name: str, wheel: zipfile.ZipFile) -> None:
    """The browser's client and the markers of typed packages are in the wheel."""
    assert name in wheel.namelist()


def test_wheel_contains_all_of_both_packages(wheel: zipfile.ZipFile) -> None:
    """Each file of the two packages is in the wheel, in every folder."""
    files = {
        file.relative_to(ROOT).as_posix()
        for package in ("pushserver", "pushserver_channels")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert files <= set(wheel.namelist())


def test_wheel_contains_no_tests_or_examples(wheel: zipfile.ZipFile) -> None:
    """Neither the tests nor the example site are in the wheel."""
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {
        "pushserver",
        "pushserver_channels",
        f"django_pushserver-{pushserver.__version__}.dist-info",
    }


def test_source_archive_builds_the_same_wheel(built: Path) -> None:
    """The source archive alone is enough to build the same wheel."""
    [file] = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE",
        "README.rst",
        "pyproject.toml",
        "setup.cfg",
        "pushserver/static/pushserver/updates.js",
        "pushserver_channels/py.typed",
        "pushserver_channels/stores/redis/lua/append.lua",
    } <= names


def test_dependencies_and_extras(metadata: Message) -> None:
    """Installing includes Django and the server's dependencies; Redis is an extra."""
    assert metadata["Name"] == "django-pushserver"
    assert metadata["Version"] == pushserver.__version__
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    always = {each.name.lower() for each in requirements if each.marker is None}
    assert always == {"django", "channels", "daphne", "asgiref"}
    extras = set(metadata.get_all("Provides-Extra", []))
    assert {"metrics", "redis", "tests", "docs"} <= extras
    redis = [
        each
        for each in requirements
        if each.marker is not None and each.marker.evaluate({"extra": "redis"})
    ]
    assert "redis" in {each.name for each in redis}


def test_vulnerable_versions_are_not_accepted(metadata: Message) -> None:
    """Daphne below 4.2.2 has two published vulnerabilities; Django 5.2 is required."""
    needed = {
        requirement.name.lower(): requirement.specifier
        for requirement in map(Requirement, metadata.get_all("Requires-Dist", []))
    }
    assert not needed["daphne"].contains("4.2.1")
    assert needed["daphne"].contains("4.2.2")
    assert not needed["django"].contains("5.1")
    assert needed["django"].contains("5.2")
    assert metadata["Requires-Python"] == ">=3.10"


def test_readme_is_the_description(metadata: Message) -> None:
    """The README is the description on a package index."""
    assert metadata["Description-Content-Type"].startswith("text/x-rst")
    readme = (ROOT / "README.rst").read_text(encoding="utf-8")
    assert str(metadata.get_payload()).strip() == readme.strip()
