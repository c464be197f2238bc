from __future__ import annotations

import pytest

from .exchanges import Serve

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("length", [1, 511, 512])
@pytest.mark.parametrize("character", ["x", "\u20ac", "\U0001f600"])
async def test_long_ids(serve: Serve, length: int, character: str) -> None:
    """A channel id may have max_channel_id_length characters of any width."""
    site = serve()
    path = "".join(f"%{byte:02X}" for byte in (character * length).encode())
    assert (await site.post(path)).status == 202
    assert (await site.ask("GET", f"/updates/{path}")).body == b"news"


@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
async def test_ids_that_are_too_long(serve: Serve, location: str) -> None:
    """A channel id with more characters gets 400."""
    answer = await serve().ask("GET", f"/{location}/{'x' * 513}")
    assert answer.status == 400
    assert answer.body == b"A channel id has at most 512 characters here.\n"


@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
async def test_ids_that_are_empty(serve: Serve, location: str) -> None:
    """An empty channel id, which a pattern may match, gets 400."""
    answer = await serve().ask("GET", f"/{location}/")
    assert answer.status == 400
    assert answer.body == b"The URL has no channel id.\n"


@pytest.mark.parametrize("location", ["send-update", "updates", "interval"])
@pytest.mark.parametrize("path", ["%FF", "a%C3", "%ED%A0%80", "%C0%AF"])
async def test_ids_that_are_not_utf8(serve: Serve, location: str, path: str) -> None:
    """A channel id that is not UTF-8 gets 400."""
    answer = await serve().ask("GET", f"/{location}/{path}")
    assert answer.status == 400
    assert answer.body == b"The channel id in the URL is not UTF-8.\n"
