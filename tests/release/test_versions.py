"""The rule of versions, which ``make release-check`` checks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import pytest

import pushserver
from release.versions import find_faults
from tests.servers import ROOT

TODAY = date(2026, 12, 31)


def check(
    *headings: str,
    version: str = "1.2.0",
    tags: Iterable[str] = (),
    here: Iterable[str] = (),
) -> list[str]:
    """Return the faults of a changelog that has these headings."""
    texts = [
        f"{heading}\n{'-' * len(heading)}\n\nNew:\n\n- One.\n" for heading in headings
    ]
    changelog = "Changelog\n=========\n\n" + "\n".join(texts)
    return [*find_faults(version, changelog, tags, here, TODAY)]


@pytest.mark.parametrize(
    ("version", "headings", "tags", "here"),
    [
        ("1.2.0", ["1.2.0 (unreleased)"], [], []),
        ("1.2.0", ["1.2.0 (2026-12-31)"], [], []),
        ("1.2.0", ["1.2.0 (2026-12-31)"], ["v1.2.0"], ["v1.2.0"]),
        ("1.2.0", ["1.2.0 (unreleased)", "1.1.9 (2026-01-01)"], ["v1.1.9"], []),
        ("1.2.0", ["1.2.0 (2026-12-01)", "1.2.0rc1 (2026-12-01)"], ["v1.2.0rc1"], []),
        ("1.10.0", ["1.10.0 (unreleased)", "1.9.0 (2026-01-01)"], ["v1.9.0"], []),
        ("1.2.0", ["1.2.0 (unreleased)"], ["other", "v2"], ["other"]),
    ],
)
def test_no_fault(
    version: str, headings: list[str], tags: list[str], here: list[str]
) -> None:
    """A version that is one everywhere, and newer than all before, has no fault."""
    assert check(*headings, version=version, tags=tags, here=here) == []


@pytest.mark.parametrize(
    "version",
    ["1.2", "1.2.0.1", "v1.2.0", "1.2.0-rc.1", "1.2.0.dev1", "01.2.0", "1!1.2.0"],
)
def test_version_of_another_form(version: str) -> None:
    """A version has three numbers, and at most a, b or rc with a number."""
    [fault] = check(f"{version} (unreleased)", version=version)
    assert fault == f"The version {version!r} is not like 1.2.0 or 1.2.0rc1."


@pytest.mark.parametrize(
    ("headings", "fault"),
    [
        (["1.3.0 (unreleased)"], "begins with 1.3.0, but this is 1.2.0"),
        ([], "has no heading like"),
        (["1.2.0"], "heading '1.2.0' is not like"),
        (["1.2 (unreleased)"], "heading '1.2 (unreleased)' is not like"),
        (["1.2.0 (2026-02-30)"], "2026-02-30, which does not exist"),
        (["1.2.0 (2027-01-01)"], "2027-01-01, which is in the future"),
        (["1.2.0 (unreleased)", "1.3.0 (2026-01-01)"], "has 1.2.0 before 1.3.0"),
        (["1.2.0 (unreleased)", "1.1.0 (unreleased)"], "unreleased of 1.1.0, too"),
        (["1.2.0 (2026-01-01)", "1.1.0 (2026-01-02)"], "2026-01-01 before 2026-01-02"),
    ],
)
def test_changelog_that_does_not_fit(headings: list[str], fault: str) -> None:
    """The changelog has this version first, its order is right, and its days exist."""
    [found] = check(*headings)
    assert fault in found


@pytest.mark.parametrize(
    ("heading", "tags", "here", "fault"),
    [
        ("1.2.0 (unreleased)", ["v1.2.0"], ["v1.2.0"], "its changelog says unreleased"),
        ("1.2.0 (2026-12-31)", ["v1.3.0"], ["v1.3.0"], "has the tag v1.3.0, but"),
        (
            "1.2.0 (unreleased)",
            ["v1.2.0"],
            [],
            "There is a tag v1.2.0, so 1.2.0 cannot",
        ),
        ("1.2.0 (unreleased)", ["v1.9.0", "v1.10.0"], [], "There is a tag v1.10.0, so"),
    ],
)
def test_tag_that_does_not_fit(
    heading: str, tags: list[str], here: list[str], fault: str
) -> None:
    """The tag is that of the version, the changelog has its day, and it is new."""
    [found] = check(heading, tags=tags, here=here)
    assert fault in found


def test_versions_of_this_package() -> None:
    """The version in the code is the first of the changelog."""
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    assert [*find_faults(pushserver.__version__, changelog, (), (), date.max)] == []
