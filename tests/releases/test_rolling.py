"""From the last release to this one and back, on one Redis."""

from __future__ import annotations

import pytest

from tests.conformance.servers import need

from .rolling import LAST_RELEASE, has_commit, run


@pytest.mark.process
@pytest.mark.left_to_all("two releases")
async def test_two_releases_share_one_redis() -> None:
    """Nothing is lost or misread while processes of both releases serve and publish."""
    need(has_commit(LAST_RELEASE), "the last release", "git fetch --unshallow")
    result = await run(5)
    assert result.rolls == 8
    assert result.outcome.accepted
    assert result.complain() == [], result
