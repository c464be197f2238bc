"""Rights to listen in a site's code: grants, tokens, settings, checks, commands."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.template import Context, Template
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.test.utils import override_script_prefix
from django.urls import include, path, resolve
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from pushserver.access import Grant, publisher_token
from pushserver.access.revoking import _revoke_session
from pushserver.access.tokens import InvalidToken, make_token, may_publish, read_token
from pushserver.access_checks import check_access, check_open_locations
from pushserver.conf import read_settings
from pushserver.updates import subscriber_url, user_channel
from pushserver.view_paths import find_view_path
from pushserver_channels.routing import get_application

from .server.exchanges import django

PUBLISHER = {"type": "publisher", "url": "/send-update/([^/]+)"}
OPEN = {"type": "subscriber", "url": "/updates/([^/]+)"}
RULE = "tests.server.rules.may_listen"


def read(location: dict[str, Any], **others: Any) -> Any:
    """Return the subscriber location of settings."""
    return read_settings({"locations": [location], **others}).locations[0]


def test_a_grant_ends_at_an_aware_time() -> None:
    with pytest.raises(ValueError, match="aware"):
        Grant(until=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="datetime"):
        Grant(until=3600)  # type: ignore[arg-type]
    assert Grant(until=timezone.now()).user is None


def test_the_content_of_a_token() -> None:
    """A token has its channels, who listens, and when it ends."""
    token = make_token(
        "other",
        ["a", "b"],
        expires=timedelta(minutes=1),
        user=SimpleNamespace(pk=7),
        session_key="secret-key",
        info={"name": "Anna"},
    )
    assert "secret-key" not in token
    content = read_token(token)
    permission = content.permission
    assert (content.store, content.channel_ids) == ("other", {"a", "b"})
    assert (permission.user, permission.info) == ("7", {"name": "Anna"})
    assert permission.until == pytest.approx(permission.issued_at + 60)
    assert permission.session not in (None, "secret-key")


def test_every_token_expires(settings: LazySettings) -> None:
    """The setting ``token_max_age`` is the default and the most."""
    settings.PUSH_SERVER = {"token_max_age": 100}
    for expires in (None, 1000, timezone.now() + timedelta(days=1)):
        permission = read_token(
            make_token("default", ["a"], expires=expires)
        ).permission
        assert permission.until == pytest.approx(permission.issued_at + 100)
    for expires in (0, -5, timezone.now() - timedelta(days=1), float("nan")):
        with pytest.raises(ValueError, match="useless"):
            make_token("default", ["a"], expires=expires)
    with pytest.raises(TypeError, match="expires"):
        make_token("default", ["a"], expires="1h")  # type: ignore[arg-type]


def test_a_key_that_was_replaced(settings: LazySettings) -> None:
    """Tokens of a former ``SECRET_KEY`` are valid while it is a fallback."""
    token = make_token("default", ["a"])
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["tests"]
    assert read_token(token).channel_ids == {"a"}
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(InvalidToken):
        read_token(token)
    with pytest.raises(InvalidToken):
        read_token(publisher_token("a"))


def test_tokens_of_publishers() -> None:
    assert may_publish(publisher_token("a"), "a")
    assert not may_publish(publisher_token("a"), "b")
    assert may_publish(publisher_token(None), "b")
    assert not may_publish(make_token("default", ["a"]), "a")
    assert not may_publish("", "a")


def test_defaults_for_all_locations() -> None:
    """Settings of ``PUSH_SERVER`` are defaults; ``public`` excepts a location."""
    assert not read(OPEN).is_guarded
    assert read(OPEN, authorize=RULE).authorize == RULE
    assert read(OPEN, signed=True).signed is True
    assert read({**OPEN, "signed": False}, signed=True).is_guarded is False
    assert not read({**OPEN, "public": True}, authorize=RULE, signed=True).is_guarded
    assert read({**OPEN, "authorize": "a.b"}, authorize=RULE).authorize == "a.b"


@pytest.mark.parametrize(
    ("push_server", "message"),
    [
        ({"locations": [{**OPEN, "public": True, "signed": True}]}, "beside 'signed'"),
        (
            {"locations": [{**OPEN, "signed": True}, {**OPEN, "url": "/all/(.+)"}]},
            "locations'][1] is open to everybody, but location 0",
        ),
        ({"authorize": "may_listen"}, "dotted path"),
        ({"token_max_age": 0}, "above 0"),
        ({"authorize_vary": ["X Tenant"]}, "names of headers"),
        ({"authorize_for": -1}, "0 or more"),
        # The second one is where the revocations of the first one are.
        (
            {
                "store": {
                    "one": {"type": "redis", "key_prefix": "a:"},
                    "two": {"type": "redis", "key_prefix": "a:revocations:"},
                }
            },
            "share their channels",
        ),
    ],
)
def test_settings_that_contradict(push_server: dict[str, Any], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(message)):
        read_settings(push_server)


def test_a_public_location_of_a_store_with_private_channels() -> None:
    locations = [{**OPEN, "signed": True}, {**OPEN, "url": "/all/(.+)", "public": True}]
    assert [
        each.is_guarded  # type: ignore[attr-defined]
        for each in read_settings({"locations": locations}).locations
    ] == [True, False]


@pytest.mark.parametrize("path", ["tests.server.rules.missing", "tests.missing.a"])
def test_a_function_that_is_missing(settings: LazySettings, path: str) -> None:
    """A server does not start, and a check names the function."""
    settings.PUSH_SERVER = {"authorize": path}
    with pytest.raises(ImproperlyConfigured, match=path):
        get_application(django)
    (message,) = check_access(None)
    assert message.id == "pushserver.E003"
    assert path in message.msg


def test_checks(settings: LazySettings) -> None:
    """``--deploy`` says that all channels are open; cached tokens are a warning."""
    settings.PUSH_SERVER = {}
    assert [each.id for each in check_open_locations(None)] == ["pushserver.W016"]
    settings.PUSH_SERVER = {"locations": [PUBLISHER, {**OPEN, "public": True}]}
    assert check_open_locations(None) == []
    settings.PUSH_SERVER = {"authorize": RULE, "signed": True}
    assert check_open_locations(None) == check_access(None) == []
    settings.MIDDLEWARE = ["django.middleware.cache.UpdateCacheMiddleware"]
    assert [each.id for each in check_access(None)] == ["pushserver.W015"]
    settings.PUSH_SERVER = {"authorize": 1}  # Another check reports it.
    assert check_open_locations(None) == check_access(None) == []


def test_the_url_of_a_location_with_a_name(settings: LazySettings) -> None:
    """``location`` chooses by name; otherwise the first that can match is used."""
    settings.PUSH_SERVER = {
        "locations": [
            {**OPEN, "url": r"/numbers/(\d+)", "name": "numbers", "public": True},
            {**OPEN, "name": "all", "signed": True},
        ]
    }
    assert subscriber_url(7) == "/numbers/7"
    assert subscriber_url("a").startswith("/updates/a?token=")
    assert subscriber_url(7, location="all").startswith("/updates/7?token=")
    with pytest.raises(ValueError, match="reads no tokens"):
        subscriber_url(7, expires=60)
    with pytest.raises(ValueError, match="name 'other'"):
        subscriber_url(7, location="other")


@pytest.mark.parametrize("in_context", [True, False])
def test_the_tag_signs_for_the_user_and_the_session(
    settings: LazySettings, in_context: bool
) -> None:
    settings.PUSH_SERVER = {"signed": True}
    request = RequestFactory().get("/")
    request.user = SimpleNamespace(pk=7, is_authenticated=True)  # type: ignore[assignment]
    request.session = SimpleNamespace(session_key="s", accessed=False)  # type: ignore[assignment]
    context = Context({"request": request} if in_context else {})
    if not in_context:
        context.request = request  # type: ignore[attr-defined]
    tag = "{% load pushserver %}{% channel_url 'a' expires=60 %}"
    url = Template(tag).render(context)
    permission = read_token(url.partition("?token=")[2]).permission
    assert permission.user == "7"
    assert permission.session is not None
    assert permission.until == pytest.approx(permission.issued_at + 60)
    assert request.session.accessed
    tag = "{% load pushserver %}{% push_channels news='a' %}"
    channels = json.loads(Template(tag).render(context).split(">")[1].split("<")[0])
    token = channels["news"]["url"].partition("?token=")[2]
    assert read_token(token).permission.user == "7"


def test_the_channel_of_a_user(settings: LazySettings) -> None:
    """It is stable, and depends on the secret key."""
    channel = user_channel(SimpleNamespace(pk=7))
    assert channel == user_channel(7) == user_channel("7")
    assert channel.startswith("user-7-")
    assert channel != user_channel(8)
    settings.SECRET_KEY = "other"
    assert channel != user_channel(7)
    with pytest.raises(ValueError, match="anonymous"):
        user_channel(SimpleNamespace(pk=None))


def test_new_tokens_for_a_page(settings: LazySettings) -> None:
    """The view gives a URL for each channel that ``authorize`` grants."""
    settings.PUSH_SERVER = {
        "locations": [{**OPEN, "signed": True, "authorize": RULE}],
    }
    url = "/passthrough/tokens?channel=anna&channel=bob&channel=public"
    answer = Client().get(url, headers={"X-User": "anna"})
    assert set(answer.json()) == {"anna", "public"}
    assert "no-store" in answer["Cache-Control"]
    token = answer.json()["anna"].partition("?token=")[2]
    assert read_token(token).permission.user == "anna"
    assert Client().post(url).status_code == 405
    settings.PUSH_SERVER = {"signed": True}
    assert Client().get(url, headers={"X-User": "anna"}).json() == {}


def test_new_tokens_of_a_location_with_a_name(settings: LazySettings) -> None:
    """The query names a location that is not the first one."""
    named = {**OPEN, "url": "/named/(.+)", "name": "named", "signed": True}
    settings.PUSH_SERVER = {
        "locations": [{**OPEN, "public": True}, {**named, "authorize": RULE}]
    }
    url = "/passthrough/tokens?channel=anna&channel=bob"
    headers = {"X-User": "anna"}
    assert Client().get(url, headers=headers).json() == {}
    assert Client().get(f"{url}&location=other", headers=headers).json() == {}
    answer = Client().get(f"{url}&location=named", headers=headers).json()
    assert set(answer) == {"anna"}
    assert answer["anna"].startswith("/named/anna?token=")


def test_a_page_knows_where_it_gets_new_tokens(settings: LazySettings) -> None:
    """The tag names the view where it gives tokens, below the root of the site."""

    def read_channel() -> dict[str, str]:
        tag = "{% load pushserver %}{% push_channels news='room/7' since=since %}"
        html = Template(tag).render(Context({"since": {"room/7": "0:0"}}))
        channel: dict[str, str] = json.loads(html.split(">")[1].split("<")[0])["news"]
        return channel

    signed = {**OPEN, "url": "/updates/(.+)", "signed": True}
    settings.PUSH_SERVER = {"locations": [{**signed, "authorize": RULE}]}
    channel = read_channel()
    assert channel["channel"] == "room/7"
    assert channel["tokenUrl"] == find_view_path("tokens")
    with override_script_prefix("/below/"):
        assert read_channel()["tokenUrl"].startswith("/below/")
    with override_settings(ROOT_URLCONF="tests.no_urls"):  # It has no such view.
        assert "tokenUrl" not in read_channel()
    for location in (signed, {**OPEN, "url": "/updates/(.+)", "authorize": RULE}):
        settings.PUSH_SERVER = {"locations": [location]}
        assert "tokenUrl" not in read_channel()


@pytest.mark.parametrize(
    "push_server",
    [{}, {"signed": True}, {"signed": True, "store": {"type": "unknown"}}],
)
def test_a_user_is_logged_out_whatever_happens(
    settings: LazySettings, caplog: pytest.LogCaptureFixture, push_server: Any
) -> None:
    """What fails is logged, since the signal comes before the logout itself."""
    settings.PUSH_SERVER = push_server
    session = SimpleNamespace(session_key="a" * 32)
    _revoke_session(request=SimpleNamespace(session=session), user=None)
    assert "may go on listening" in caplog.text
    _revoke_session(request=SimpleNamespace(session=None), user=None)
    assert len(caplog.records) == 1


def test_a_token_that_nobody_would_read() -> None:
    """It is an error where it is made, not a 401 later."""
    with pytest.raises(ValueError, match="more than 4096: name fewer channels"):
        make_token("default", ["a" * 250] * 20)
    with pytest.raises(ValueError, match="more than 4096"):
        make_token("default", ["a"], info="a" * 4096)


async def test_the_view_for_who_is_not_logged_in(settings: LazySettings) -> None:
    """It answers without the channels, where other views ask for a login."""
    settings.PUSH_SERVER = {
        "locations": [{**OPEN, "signed": True, "authorize": RULE}],
    }
    settings.MIDDLEWARE = ["tests.test_access.LoginRequired"]
    answer = await AsyncClient().get("/passthrough/tokens?channel=anna")
    assert (answer.status_code, answer.json()) == (200, {})


class LoginRequired(MiddlewareMixin):
    """Refuses as Django's LoginRequiredMiddleware does."""

    def process_view(self, request: Any, view: Any, *args: Any) -> Any:
        return (
            HttpResponse(status=302) if getattr(view, "login_required", True) else None
        )


def test_the_command(settings: LazySettings) -> None:
    """The command says why it cannot revoke."""
    settings.PUSH_SERVER = {"signed": True}
    with pytest.raises(CommandError, match="memory of the push server"):
        call_command("pushserver_revoke", user="7")
    with pytest.raises(CommandError, match="needs a user"):
        call_command("pushserver_revoke", stdout=StringIO())


@pytest.mark.parametrize("prefix", ["push", "push/"])
def test_the_paths_of_the_views(settings: LazySettings, prefix: str) -> None:
    """The views have one slash before their name, however they are included."""
    settings.ROOT_URLCONF = (path(prefix, include("pushserver.urls")),)
    for name in ("tokens", "authorize"):
        assert find_view_path(name) == f"/push/{name}"
        assert resolve(f"/push/{name}").url_name == f"pushserver-{name}"
    settings.ROOT_URLCONF = ()
    assert find_view_path("tokens") is None
