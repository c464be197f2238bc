"""``python -m release``: check that this commit could be released."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone

import pushserver

from . import archives, readme, versions
from .combinations import ROOT, read_setup

DIST = ROOT / "dist"

Check = Callable[[], Iterable[str]]


def main() -> None:
    checks: dict[str, Check] = {
        "All files are committed": check_tree,
        "There is one version": check_version,
        "Classifiers are known": check_classifiers,
        "The README works outside the repository": check_readme,
        "The archives are built": build,
        "The archives have all files": check_archives,
        "Their metadata and description are valid": check_metadata,
        "The wheel serves a site with each Python": serve_with_each_python,
        "The documentation is built": build_documentation,
    }
    failed = 0
    for name, check in checks.items():
        faults = [*check()]
        print(f"{'WRONG' if faults else 'ok':6}{name}.", flush=True)
        for fault in faults:
            print(f"      {fault}", flush=True)
        failed += bool(faults)
    print(f"\nWhat remains for you (CONTRIBUTING.rst):\n\n{read_steps()}")
    if failed:
        sys.exit(f"{failed} of {len(checks)} checks failed.")
    print(f"All {len(checks)} checks have passed.")


def check_tree() -> Iterator[str]:
    """Check that what is checked is what is committed."""
    for line in _git("status", "--porcelain").splitlines():
        yield f"{line[3:]} is not committed."


def check_version() -> Iterable[str]:
    """Check the version, the changelog and the tags: see :mod:`release.versions`."""
    return versions.find_faults(
        pushserver.__version__,
        (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8"),
        tags=_git("tag").split(),
        tags_here=_git("tag", "--points-at", "HEAD").split(),
        today=datetime.now(timezone.utc).date(),
    )


def check_classifiers() -> Iterator[str]:
    """Check the classifiers, since an index rejects unknown ones."""
    from trove_classifiers import classifiers

    for line in filter(None, read_setup()["metadata"]["classifiers"].splitlines()):
        if line not in classifiers:
            yield f"{line!r} is not a classifier of the index."


def check_readme() -> Iterable[str]:
    """Check the links of the README: see :mod:`release.readme`."""
    return readme.find_faults((ROOT / "README.rst").read_text(encoding="utf-8"))


def build() -> Iterator[str]:
    """Build both archives from a clone, which has nothing but what is committed."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        _git("clone", "--quiet", "--no-local", str(ROOT), folder)
        yield from _run("-m", "build", "--outdir", str(DIST), folder)


def check_archives() -> Iterator[str]:
    """Check the files of the archives: see :mod:`release.archives`."""
    tracked = _git("ls-files").splitlines()
    for file in DIST.glob("*.tar.gz"):
        with tarfile.open(file) as source:
            names = [name.partition("/")[2] for name in source.getnames()]
        yield from archives.find_faults_of_source(names, tracked)
    for file in DIST.glob("*.whl"):
        with zipfile.ZipFile(file) as wheel:
            yield from archives.find_faults_of_wheel(wheel.namelist(), tracked)


def check_metadata() -> Iterable[str]:
    """Check what an index would reject, and that it can show the description."""
    return _run("-m", "twine", "check", "--strict", *map(str, sorted(DIST.glob("*"))))


def serve_with_each_python() -> Iterator[str]:
    """Install the wheel with each Python: see ``wheel`` in ``noxfile.py``."""
    wheels = [*DIST.glob("*.whl")]
    if not wheels:
        yield "There is no wheel."
        return
    done = subprocess.run(
        [sys.executable, "-m", "nox", "--session", "wheel", "--", str(wheels[0])],
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        yield "A session has failed: see above."


def build_documentation() -> Iterable[str]:
    """Build the documentation, with warnings as errors."""
    return _run("-m", "sphinx", "-q", "-W", "-b", "html", "docs", "docs/_build")


def read_steps() -> str:
    """Return the steps of a release in ``CONTRIBUTING.rst``."""
    text = (ROOT / "CONTRIBUTING.rst").read_text(encoding="utf-8")
    body = text.partition("\nTo release\n----------\n")[2]
    lines = body.splitlines()
    ends = [n for n, line in enumerate(lines) if line and not line.strip("-")]
    return "\n".join(lines[: ends[0] - 1] if ends else lines).strip()


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout


def _run(*arguments: str) -> Iterator[str]:
    """Run Python; yield its output if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        yield (done.stdout + done.stderr).strip()


if __name__ == "__main__":
    main()
