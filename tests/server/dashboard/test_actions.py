"""Publishing, revoking and deleting on the dashboard, and what is recorded."""

from __future__ import annotations

import asyncio
import logging

import pytest
from django.test import override_settings

from pushserver.dashboard import asking
from tests.server.access.subscribing import ANNA, OLDEST, Serving, guarded
from tests.server.exchanges import JSON
from tests.server.streams import build_settings, leave, open_stream

from .site import Browser

pytestmark = pytest.mark.usefixtures("watched_soon")


async def test_publishing(serve: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """What is typed is published as it is, with its type and its event."""
    caplog.set_level(logging.INFO, "pushserver.dashboard")
    site = serve()
    held = await site.hold("/updates/a")
    form = {"channel": "a", "body": "ä\r\nb", "content_type": "text/x", "event": "e"}
    answer = await Browser().post("publish/", "application/json", **form)
    assert answer.json()["delivered"] is True
    got = await held.answer()
    assert (got.body.decode(), got["Content-Type"]) == ("ä\nb", "text/x")
    assert answer.json()["info"]["messages"] == 1
    [record] = caplog.records
    assert record.channel_id == "a"  # type: ignore[attr-defined]
    assert "boss" in record.getMessage() and "ä" not in record.getMessage()

    answer = await Browser().post("publish/", channel="a", body="c")
    assert answer["Location"] == "/push/channel/?store=default&channel=a&done=published"
    assert "The message was published." in await Browser().read(
        "channel/", channel="a", done="published"
    )


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"event": "a\nb"}, "event"),
        ({"content_type": "a\nb"}, "control character"),
        ({"body": "x" * 200}, "at most 100 bytes"),
        ({"channel": "presence:a"}, "presence channel"),
    ],
)
async def test_what_cannot_be_published(
    serve: Serving, form: dict[str, str], reason: str
) -> None:
    """What is not published is explained, also without JavaScript."""
    site = serve(publisher={"max_message_size": 100}, presence=True)
    await site.post("other")
    form = {"channel": "a", "body": "b", **form}
    answer = await Browser().post("publish/", "application/json", **form)
    assert answer.status_code == 400
    assert reason.lower() in answer.json()["error"].lower()
    answer = await Browser().post("publish/", **form)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.content.decode()
    assert (await site.ask("GET", "/send-update/a", JSON)).status == 404


async def test_deleting(serve: Serving, caplog: pytest.LogCaptureFixture) -> None:
    """A deleted channel is gone, also for who listens, and that is recorded."""
    caplog.set_level(logging.INFO, "pushserver.dashboard")
    site = serve()
    held = await site.hold("/updates/a")
    browser = Browser()
    answer = await browser.post("delete/", channel="a")
    assert answer["Location"] == "/push/?store=default&done=deleted"
    assert (await held.answer()).status == 410
    [record] = caplog.records
    assert record.getMessage() == (
        "boss did on the dashboard, channel 'a': Deleted the channel."
    )
    answer = await browser.post("delete/", channel="a")
    assert answer["Location"].endswith("done=missing")
    assert len(caplog.records) == 1


async def test_revoking_a_channel(
    serve: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    """All who listen to the channel are disconnected."""
    caplog.set_level(logging.INFO, "pushserver.dashboard")
    site = guarded(serve)
    held = await site.hold("/updates/anna", ANNA)
    other = await site.hold("/updates/anna", ANNA)
    answer = await Browser().post("revoke/", channel="anna")
    assert answer["Location"].endswith("channel=anna&done=revoked")
    assert (await held.answer()).status == 403
    assert (await other.answer()).status == 403
    assert [each.getMessage() for each in caplog.records] == [
        "boss did on the dashboard, channel 'anna':"
        " Revoked the rights of all who listen."
    ]


async def test_revoking_a_user(serve: Serving) -> None:
    """A user is disconnected from all channels."""
    site = guarded(serve)
    held = await site.hold("/updates/anna", ANNA)
    assert "Revoke the rights of a user" in await Browser().read()
    text = await Browser().read("revoke/", user="anna")
    assert "User" in text and "anna" in text
    answer = await Browser().post("revoke/", user="anna")
    assert answer["Location"] == "/push/?store=default&done=revoked"
    assert (await held.answer()).status == 403


async def test_nothing_to_revoke(serve: Serving) -> None:
    """Where everybody may listen, the dashboard does not offer to revoke."""
    site = serve()
    await site.post("a")
    assert "revoke/" not in await Browser().read("channel/", channel="a")
    assert "Revoke" not in await Browser().read()
    answer = await Browser().post("revoke/", channel="a")
    assert answer.status_code == 400
    assert "nothing to" in answer.content.decode()


async def test_who_is_here(serve: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are named and can be revoked one by one; others are counted."""
    site = guarded(serve, presence=True, presence_grace=0.1)
    held = await site.hold("/updates/anna", [*ANNA, *OLDEST])
    text = await Browser().read("channel/", channel="anna")
    assert "1 named, 0 others" in text
    assert "/push/revoke/?store=default&amp;user=anna" in text
    assert "revoke…" not in await Browser("reader").read("channel/", channel="anna")
    monkeypatch.setattr(asking, "MAX_MEMBERS", 0)
    text = await Browser().read("channel/", channel="anna")
    assert "revoke/?store=default&amp;user=anna" not in text
    assert '<p class="soft">1</p>' in text
    held.disconnect()
    await held.end()


@pytest.mark.parametrize("page", ["publish/", "revoke/", "delete/"])
async def test_presence_channels(serve: Serving, page: str) -> None:
    """Only the push server changes them; deleted, those who watch would not come back.

    A right to one cannot be revoked, because it is that to the other channel.
    """
    site = guarded(serve, presence=True)
    watching = await open_stream(site, "/updates/presence:anna", ANNA)
    form = {"channel": "presence:anna", "body": "b"}
    answer = await Browser().post(page, **form)
    assert answer.status_code == 400
    assert "presence channel" in answer.content.decode()
    if page != "publish/":
        text = (await Browser().get(page, channel="presence:anna")).content.decode()
        assert "presence channel" in text and 'method="post"' not in text
    text = await Browser().read("channel/", channel="presence:anna")
    assert "Publish</h2>" not in text and "Delete…" not in text
    assert not watching.future.done()
    await leave(watching)


def test_a_store_that_is_not_reached() -> None:
    """What is missing is said on the page, which goes on trying."""
    answers = []

    async def ask() -> None:
        browser = Browser()
        answers.append(await browser.read())
        answers.append(await browser.read("channel/", channel="a"))
        answer = await browser.post("delete/", channel="a")
        assert answer.status_code == 400
        answers.append(answer.content.decode())

    with override_settings(PUSH_SERVER=build_settings()):
        asyncio.run(ask())
    assert all("does not run in this process" in each for each in answers)
    answers.clear()
    conf = build_settings() | {"store": {"type": "redis", "port": 1}}
    with override_settings(PUSH_SERVER=conf):
        asyncio.run(ask())
    assert all("Redis at redis://127.0.0.1:1/0" in each for each in answers)
    layer = {"default": {"BACKEND": "tests.stores.layer.fragile.FragileLayer"}}
    conf = build_settings() | {"store": {"type": "channel_layer"}}
    with override_settings(CHANNEL_LAYERS=layer, PUSH_SERVER=conf):
        asyncio.run(Browser().read())
