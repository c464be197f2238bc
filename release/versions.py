"""The rule of versions: one version, in the code, the changelog and the tag.

A version has three numbers, after which ``a``, ``b`` or ``rc`` and a number may follow:
``1.2.0``, ``1.2.0rc1``. This is valid in PEP 440 and orders as in semantic versioning.
The top heading of the changelog is ``1.2.0 (unreleased)`` until the release, and then
``1.2.0 (2026-12-31)``. The release's commit has the tag ``v1.2.0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import pairwise

from packaging.version import Version

UNRELEASED = "unreleased"

_VERSION = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){2}(?:(?:a|b|rc)[1-9]\d*)?")
_HEADING = re.compile(r"^(?P<heading>\d\S*.*)\n-+$", re.MULTILINE)
_PARTS = re.compile(rf"(?P<version>\S+) \((?P<date>{UNRELEASED}|\d{{4}}-\d\d-\d\d)\)")


def find_faults(
    version: str,
    changelog: str,
    tags: Iterable[str],
    tags_here: Iterable[str],
    today: date,
) -> Iterator[str]:
    """Yield a sentence for each fault in the versions.

    Args:
        version: The version in the code.
        changelog: The text of the changelog.
        tags: The names of all tags of the repository.
        tags_here: The tags of this commit.
        today: The day of the check.
    """
    if not _VERSION.fullmatch(version):
        yield f"The version {version!r} is not like 1.2.0 or 1.2.0rc1."
        return
    tag = f"v{version}"
    here = [each for each in tags_here if _is_of_a_version(each)]
    yield from _compare_with_changelog(version, changelog, bool(here), today)
    for each in here:
        if each != tag:
            yield f"This commit has the tag {each}, but its version is {version}."
    if not here:
        yield from _compare_with_tags(version, tags)


def _compare_with_changelog(
    version: str, changelog: str, is_tagged: bool, today: date
) -> Iterator[str]:
    headings = _HEADING.findall(changelog)
    releases = [match for each in headings if (match := _PARTS.fullmatch(each))]
    for each in headings:
        match = _PARTS.fullmatch(each)
        if match is None or not _VERSION.fullmatch(match["version"]):
            yield f"The changelog's heading {each!r} is not like '1.2.0 (2026-12-31)'."
            return
    if not releases:
        yield "The changelog has no heading like '1.2.0 (2026-12-31)'."
        return
    first = releases[0]
    if first["version"] != version:
        yield f"The changelog begins with {first['version']}, but this is {version}."
    if is_tagged and first["date"] == UNRELEASED:
        yield f"This commit has a tag, but its changelog says {UNRELEASED}."
    for newer, older in pairwise(releases):
        if Version(newer["version"]) <= Version(older["version"]):
            yield f"The changelog has {newer['version']} before {older['version']}."
        if older["date"] == UNRELEASED:
            yield f"The changelog says {UNRELEASED} of {older['version']}, too."
        elif newer["date"] < older["date"]:  # Letters are greater than digits.
            yield f"The changelog has {newer['date']} before {older['date']}."
    for release in releases:
        if release["date"] != UNRELEASED:
            yield from _check_date(release["date"], today)


def _check_date(text: str, today: date) -> Iterator[str]:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        yield f"The changelog has the date {text}, which does not exist."
        return
    if day > today:
        yield f"The changelog has the date {text}, which is in the future."


def _compare_with_tags(version: str, tags: Iterable[str]) -> Iterator[str]:
    released = [each for each in tags if _is_of_a_version(each)]
    newest = max(released, key=lambda tag: Version(tag[1:]), default=None)
    if newest is not None and Version(newest[1:]) >= Version(version):
        yield f"There is a tag {newest}, so {version} cannot be the next version."


def _is_of_a_version(tag: str) -> bool:
    return tag.startswith("v") and _VERSION.fullmatch(tag[1:]) is not None
