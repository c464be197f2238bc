"""Who may see the dashboard, and who may do something there."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import override_settings

from tests.server.access.subscribing import Serving

from .site import Browser

PAGES = ("", "channel/", "wire/", "publish/", "revoke/", "delete/")


@pytest.mark.parametrize("page", PAGES)
async def test_visitors_are_asked_to_log_in(serve: Serving, page: str) -> None:
    """Who has not logged in is led to the login, and comes back from there."""
    serve()
    with override_settings(LOGIN_URL="/login/"):
        answer = await Browser(None).get(page, channel="a")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login/?next=%2Fpush%2F")
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("user", ["customer", "staff"])
async def test_others_are_refused(serve: Serving, page: str, user: str) -> None:
    """Both is needed: to be of the staff, and the permission."""
    serve()
    assert (await Browser(user).get(page, channel="a")).status_code == 403


@pytest.mark.parametrize("page", ["publish/", "revoke/", "delete/"])
async def test_who_may_only_look(serve: Serving, page: str) -> None:
    """Who may look is shown no forms, and can change nothing."""
    site = serve(authorize="tests.server.rules.may_listen")
    await site.post("a")
    reader = Browser("reader")
    assert (await reader.post(page, channel="a", body="b")).status_code == 403
    text = await reader.read("channel/", channel="a")
    assert "news" in text
    for word in ("Publish</h2>", "Revoke rights", "Delete…"):
        assert word not in text
        assert word in await Browser().read("channel/", channel="a")
    assert "Revoke the rights of a user" not in await reader.read()


@pytest.mark.parametrize("page", ["publish/", "revoke/", "delete/"])
async def test_forged_requests(serve: Serving, page: str) -> None:
    """A page of another site can do nothing in the name of a user."""
    site = serve(authorize="tests.server.rules.may_listen")
    await site.post("a")
    answer = await Browser(checks=True).post(page, channel="a", body="b")
    assert answer.status_code == 403
    assert (await site.ask("GET", "/send-update/a")).status == 200


async def test_what_is_asked_by_get_changes_nothing(serve: Serving) -> None:
    """Revoking and deleting ask for a confirmation, and publishing is a POST."""
    site = serve(authorize="tests.server.rules.may_listen")
    await site.post("a")
    for page in ("revoke/", "delete/"):
        assert 'method="post"' in await Browser().read(page, channel="a")
    assert (await Browser().get("publish/", channel="a")).status_code == 405
    assert (await site.ask("GET", "/send-update/a")).status == 200


async def test_the_policy_of_the_pages(serve: Serving) -> None:
    """Browsers run nothing but our files, and ask nobody but the push server."""
    serve()
    policy = (await Browser().get())["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "connect-src 'self';" in policy
    conf = {**settings.PUSH_SERVER}
    conf["subscriber_host"] = {"location": "push.example.com", "secure": True}
    with override_settings(PUSH_SERVER=conf, STATIC_URL="https://cdn.example.com/"):
        policy = (await Browser().get())["Content-Security-Policy"]
    push = "https://push.example.com wss://push.example.com"
    assert f"connect-src 'self' {push};" in policy
    assert "script-src 'self' https://cdn.example.com" in policy


async def test_no_inline_scripts_and_styles(serve: Serving) -> None:
    """A site may forbid inline scripts and styles."""
    site = serve()
    await site.post("a")
    for text in (
        await Browser().read(),
        await Browser().read("channel/", channel="a"),
        await Browser().read("delete/", channel="a"),
    ):
        assert "<style" not in text and "style=" not in text
        assert "onclick" not in text and "data:" not in text
        assert text.count("<script") == text.count("<script defer src=")
