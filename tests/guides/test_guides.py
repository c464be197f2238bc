"""Follow the how-to guides literally, each in a new site."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiers import in_tier
from tests.valkey import Valkey

from .following import USUAL_REDIS, Reader
from .sites import FILES, list_pages, make_site, read_page

#: The guides in which something is run or written. One that most sites need is followed
#: in each run of the tests.
GUIDES = [
    name
    for name in list_pages("howto")
    if any(block.verb in (*FILES, "run", "try", "serve") for block in read_page(name))
]
CHOSEN = {"howto/authorization"}


@pytest.mark.process
@pytest.mark.parametrize(
    "name", [in_tier(name, CHOSEN, "how-to guides") for name in GUIDES]
)
def test_guide_works(name: str, tmp_path: Path) -> None:
    """What a guide writes and runs works, and the site has no fault afterwards."""
    blocks = read_page(name)
    make_site(tmp_path)
    if not any(USUAL_REDIS in block.code for block in blocks):
        with Reader(tmp_path) as reader:
            reader.follow(blocks)
            reader.check()
        return
    with Valkey() as valkey, Reader(tmp_path, valkey.url) as reader:
        reader.follow(blocks)
        reader.check()
