"""What ``make release-check`` checks besides the version."""

from __future__ import annotations

import subprocess
import sys

import pytest

from release import __main__ as command
from release import archives, readme
from tests.servers import ROOT

TRACKED = [".gitignore", "setup.cfg", "pushserver/a.py", "pushserver_channels/py.typed"]
INFO = "django_pushserver-1.0.0.dist-info/METADATA"


@pytest.mark.parametrize(
    "text",
    [
        ".. image:: https://example.com/a.png\n   :target: https://example.com/",
        "Read the `tutorial <https://example.com/>`_ or `this\n<http://example.com>`__.",
        ".. _tutorial: https://example.com/\n",
        'Write ``url(r"<a>")`` and :code:`x`, see `Production`_::\n\n    a: `b`\n',
    ],
)
def test_readme_that_works_everywhere(text: str) -> None:
    """Absolute links, references inside the text and literals are allowed."""
    assert [*readme.find_faults(text)] == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (".. image:: docs/images/board.png", "'docs/images/board.png'"),
        (".. image:: https://example.com/a\n   :target: docs", "'docs'"),
        ("See `the guide <docs/guide.rst>`_.", "'docs/guide.rst'"),
        ("See `the\nguide\n<docs/guide.rst>`__.", "'docs/guide.rst'"),
        (".. _guide: /docs", "'/docs'"),
        ("See :doc:`usage`.", ":doc:"),
        ("See :py:class:`Hub`.", ":py:class:"),
    ],
)
def test_readme_with_what_an_index_does_not_show(text: str, what: str) -> None:
    """Relative links and roles of Sphinx are reported."""
    [fault] = readme.find_faults(text)
    assert what in fault


def test_archives_without_faults() -> None:
    """The source archive has all files that matter; the wheel those of the packages."""
    assert [*archives.find_faults_of_source(TRACKED[1:], TRACKED)] == []
    assert [*archives.find_faults_of_wheel([*TRACKED[2:], INFO], TRACKED)] == []


def test_archives_with_faults() -> None:
    """Files that are missing are reported, and in the wheel those that are too many."""
    [fault] = archives.find_faults_of_source(TRACKED[2:], TRACKED)
    assert "lacks setup.cfg" in fault
    lacks, has = archives.find_faults_of_wheel([TRACKED[2], "tests/a.py"], TRACKED)
    assert "lacks pushserver_channels/py.typed" in lacks
    assert "has tests/a.py" in has


def test_the_steps_are_printed() -> None:
    """The list of what remains is the section of CONTRIBUTING.rst."""
    steps = command.read_steps()
    assert steps.startswith("Versions follow")
    assert "git tag -s" in steps
    assert "9. " in steps


def test_a_failed_check_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that fails does not stop the others, and the command exits with 1."""
    for name in vars(command).copy():
        if name.startswith(("check_", "build", "serve_")):
            monkeypatch.setattr(command, name, lambda: ())
    monkeypatch.setattr(command, "check_tree", lambda: ["a.py is not committed."])
    with pytest.raises(SystemExit, match="1 of 9 checks failed"):
        command.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0:2] == [
        "WRONG All files are committed.",
        "      a.py is not committed.",
    ]
    assert sum(line.startswith("ok ") for line in lines) == 8


@pytest.mark.process
@pytest.mark.left_to_all("the site of the release check")
def test_the_small_site_is_served() -> None:
    """The script that a wheel has to pass passes with the package itself."""
    done = subprocess.run(
        [sys.executable, "-I", "release/serve_site.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it serves a site." in done.stdout
