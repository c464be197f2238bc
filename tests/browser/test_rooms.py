"""The example's rooms: who hears what, served by a real Daphne."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import http
from tests.servers import ServerProcess

from .stage import Visit, Visitor
from .test_board import example_site

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIVE = "Live"
REFUSED = "For members only"

#: Whether a room of the page is in a state, as it tells its reader.
IS_IN_STATE = """
    ([id, state]) =>
        document.getElementById(id)?.querySelector(".state").textContent === state
"""


@pytest.fixture(scope="module")
def example() -> Iterator[ServerProcess]:
    with example_site() as server:
        yield server


async def log_in(visit: Visitor, example: ServerProcess, name: str) -> Visit:
    """Return the page of the rooms of somebody who logs in by one click."""
    window = await visit(f"{example.url}/rooms")
    await window.page.click(f"#login button[value={name}]")
    return window


async def until_states(window: Visit, **states: str) -> None:
    for room, state in states.items():
        await window.until(IS_IN_STATE, [room, state])


async def say(window: Visit, room: str, text: str) -> None:
    await window.page.fill(f"#{room} input[name=text]", text)
    await window.page.click(f"#{room} form button")


async def until_said(window: Visit, room: str, text: str) -> None:
    await window.until(
        "([id, text]) => [...document.querySelectorAll(`#${id} .text`)]"
        ".some((each) => each.textContent === text)",
        [room, text],
    )


async def heard(window: Visit, room: str) -> list[str]:
    texts: list[str] = await window.page.locator(f"#{room} .text").all_text_contents()
    return texts


async def test_rooms_and_private_channels(
    example: ServerProcess, visit: Visitor
) -> None:
    """Members hear their rooms, and only the addressee hears a private message."""
    anna = await log_in(visit, example, "Anna")
    ben = await log_in(visit, example, "Ben")
    await until_states(anna, kitchen=LIVE, attic=LIVE, private=LIVE)
    await until_states(ben, kitchen=LIVE, attic=REFUSED, private=LIVE)

    await say(anna, "attic", "<b>only Anna</b>")
    await say(anna, "private", "for Ben")
    await say(ben, "kitchen", "for both")
    await until_said(anna, "attic", "<b>only Anna</b>")
    await until_said(ben, "private", "for Ben")
    await until_said(anna, "kitchen", "for both")
    await until_said(ben, "kitchen", "for both")
    assert await heard(ben, "attic") == []
    assert await heard(anna, "private") == []

    await ben.page.reload()
    await until_said(ben, "kitchen", "for both")
    await until_states(ben, kitchen=LIVE, private=LIVE)
    assert await heard(ben, "kitchen") == ["for both"]
    assert await heard(ben, "attic") == []
    assert anna.errors == []


async def test_logging_out(example: ServerProcess, visit: Visitor) -> None:
    """Whoever logs out hears nothing more in any window, until the next login."""
    one = await log_in(visit, example, "Anna")
    other = await visit(f"{example.url}/rooms", beside=one)
    await until_states(one, kitchen=LIVE)
    await until_states(other, kitchen=LIVE)
    await one.page.click("text=Log out Anna")
    await until_states(other, kitchen=REFUSED, attic=REFUSED, private=REFUSED)
    await one.page.click("#login button[value=Anna]")
    await until_states(one, kitchen=LIVE, attic=LIVE, private=LIVE)


@pytest.mark.parametrize("path", ["updates", "interval"])
@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
async def test_visitors_hear_no_room(
    example: ServerProcess, path: str, accept: str
) -> None:
    """A visitor who knows the id of a room is refused, and other ids are public."""
    async with http.AsyncClient(base_url=example.url) as client:
        headers = {"Accept": accept}
        answer = await client.get(f"/{path}/room-kitchen", headers=headers)
        assert answer.status_code == 403
        assert (await client.get("/interval/news")).status_code == 304
        token = (await client.get("/rooms")).cookies["csrftoken"]
        form = {"csrfmiddlewaretoken": token, "to": "kitchen", "text": "let me in"}
        assert (await client.post("/rooms/say", data=form)).status_code == 403
