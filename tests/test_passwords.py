from __future__ import annotations

import sys
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory, override_settings
from django.views.debug import ExceptionReporter

from pushserver.checks import check_passwords
from pushserver.conf import RedisStoreSettings, get_settings, read_settings
from pushserver.conf.readers import InvalidSetting
from pushserver.passwords import SecretText, hide, mask
from pushserver.publishers import PublishError
from pushserver.updates import send_update
from pushserver_channels.stores import check_store
from tests.servers import free_port
from tests.valkey import Valkey

SECRET = "opensesame"

URLS = [
    f"redis://user:{SECRET}@127.0.0.1:6379/0",
    f"redis://:{SECRET}@127.0.0.1:6379/0",
    f"rediss://user:{SECRET}@127.0.0.1:6379/0",
    f"redis://127.0.0.1:6379/0?password={SECRET}",
    f"unix://:{SECRET}@/run/redis.sock?db=1",
    f"unix:///run/redis.sock?db=1&password={SECRET}",
    f"redis+sentinel://user:{SECRET}@a:26379,b:26379/service/0",
    f"redis+sentinel://a:26379/service/0?sentinel_password={SECRET}",
    f"redis+cluster://user:{SECRET}@[::1]:6379,b:6379",
]

#: Invalid URLs, each with another fault.
WRONG_URLS = [
    f"redsi://user:{SECRET}@127.0.0.1:6379/0",
    f"redis://user:{SECRET}@127.0.0.1:port/0",
    f"redis://user:{SECRET}@127.0.0.1:6379/name",
    f"redis://user:{SECRET}@127.0.0.1:6379/0?no_such_option=1",
    f"redis://user:{SECRET}/x@127.0.0.1:6379/0",
    f"redis://user:{SECRET}?x=1@127.0.0.1:6379/0",
    f"redis://user:a?{SECRET}=1@127.0.0.1:6379/0",
    f"redis+sentinel://user:{SECRET}@a:26379",
    f"redis+sentinel://user:{SECRET}/x@a:26379/service",
    f"redis+sentinel://{SECRET}:x@a:port/service",
    f"redis+cluster://user:{SECRET}@a:port",
    f"redis+cluster://user:{SECRET}@a:6379?no_such_option=1",
    f"redis:/user:{SECRET}@127.0.0.1:6379/0",
    f"redis:user:{SECRET}@127.0.0.1:6379/0",
    f"redis//user:{SECRET}@127.0.0.1:6379/0",
    f"user:{SECRET}@127.0.0.1:6379/0",
    f":{SECRET}@127.0.0.1:6379/0",
    f"{SECRET}@127.0.0.1:6379/0",
]


def store(**settings: Any) -> dict[str, Any]:
    return {"store": {"type": "redis", **settings}}


def pages(call: Callable[[], object]) -> str:
    """Return everything that Django shows of the error that a call raises."""
    try:
        call()
    except Exception:
        reporter = ExceptionReporter(RequestFactory().get("/"), *sys.exc_info())
    else:
        raise AssertionError("It raised nothing.")
    return reporter.get_traceback_html() + reporter.get_traceback_text()


def fail() -> None:
    conf = get_settings()
    raw = django_settings.PUSH_SERVER
    address = getattr(conf.store["default"], "address", None)
    raise LookupError(f"{conf!r} {raw!r} {address!r}")


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("url", URLS)
def test_a_password_in_a_url_is_not_shown(url: str, debug: bool) -> None:
    """The password is shown neither in settings nor in local variables."""
    with override_settings(PUSH_SERVER=store(url=url), DEBUG=debug):
        shown = pages(fail)
        assert get_settings().store["default"].address == url
        assert store(url=url) == django_settings.PUSH_SERVER
    assert "PUSH_SERVER" in shown
    assert url.partition("://")[0] in shown
    assert SECRET not in shown


def test_a_url_without_a_password_is_shown(settings: Any) -> None:
    """A URL without a password is shown on the error page, where it is useful."""
    settings.PUSH_SERVER = store(url="redis://127.0.0.1:6379/0?db=2")
    assert "redis://127.0.0.1:6379/0?db=2" in pages(fail)


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("url", WRONG_URLS)
def test_a_url_that_cannot_be_used_is_not_shown(url: str, debug: bool) -> None:
    """The error, its causes and their local variables do not show the password."""

    def start() -> None:
        check_store(get_settings().store["default"])

    with override_settings(PUSH_SERVER=store(url=url), DEBUG=debug):
        shown = pages(start)
        with pytest.raises(ImproperlyConfigured) as caught:
            start()
    assert SECRET not in str(caught.value)
    assert SECRET not in shown


URL = URLS[0]


@pytest.mark.parametrize(
    "push_server",
    [
        {"store": URL},
        {"store": [URL]},
        {"store": {"type": URL}},
        {"store": {"type": "redis", "ulr": URL}},
        {"store": {"type": "redis", URL: 1}},
        {"store": {"type": "redis", "url": URL, "host": "a"}},
        {"store": {"type": "redis", "url": [URL]}},
        {"store": {"a": {"type": "redis", "url": URL}, "b": {"type": "redsi"}}},
        {"store": {"a": {"type": "redis", "url": URL, "max_messages": -1}}},
        {"store": {"type": "redis", "url": URL, "password": SECRET}},
        {"store": {"type": "redis", "password": [SECRET]}},
        {"store": {"type": "redis", "password": SECRET, "max_messages": -1}},
        {"store": {"type": "memory", "password": SECRET}},
        {"store": MappingProxyType({"type": "redsi", "url": URL})},
        {"publisher_host": URL},
        {"urls": URL},
        [URL],
        (URL,),
        URL,
    ],
)
def test_a_wrong_setting_does_not_show_a_password(push_server: Any) -> None:
    """An error about a URL in the wrong setting does not show its password."""
    with override_settings(PUSH_SERVER=push_server, DEBUG=True):
        shown = pages(get_settings)
        with pytest.raises(InvalidSetting) as caught:
            get_settings()
    assert SECRET not in str(caught.value)
    assert SECRET not in shown


def test_a_redis_that_cannot_be_reached_does_not_show_a_password() -> None:
    """Only the text of redis-py's errors is shown, without local variables."""
    url = f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0"
    with override_settings(PUSH_SERVER=store(url=url), DEBUG=True):
        shown = pages(lambda: send_update("news", 1))
    assert "PublishError" in shown
    assert SECRET not in shown


@pytest.mark.process
def test_a_redis_that_refuses_a_password_does_not_show_it() -> None:
    """The login command of redis-py is not shown on the error page."""
    with (
        Valkey() as valkey,
        override_settings(
            PUSH_SERVER=store(url=valkey.url, username="user", password=SECRET),
            DEBUG=True,
        ),
    ):
        shown = pages(lambda: send_update("news", 1))
        with pytest.raises(PublishError) as caught:
            send_update("news", 1)
    assert SECRET not in str(caught.value)
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "redis://127.0.0.1:6379/0"),
        ({"password": "a/b@c"}, "redis://:a%2Fb%40c@127.0.0.1:6379/0"),
        ({"username": "me", "password": "p"}, "redis://me:p@127.0.0.1:6379/0"),
        ({"host": "::1", "password": "p"}, "redis://:p@[::1]:6379/0"),
        ({"url": "rediss://a/1?x=y", "password": "p"}, "rediss://:p@a/1?x=y"),
        ({"url": "unix:///run/s?db=1", "password": "p"}, "unix://:p@/run/s?db=1"),
        (
            {"url": "redis+sentinel://a:1,b:2/s/0", "username": "u", "password": "p"},
            "redis+sentinel://u:p@a:1,b:2/s/0",
        ),
        (
            {"url": "redis+cluster://a:1,b:2", "password": "p"},
            "redis+cluster://:p@a:1,b:2",
        ),
    ],
)
def test_password_may_be_a_separate_setting(
    settings: dict[str, Any], address: str
) -> None:
    """User and password may be separate settings, without percent-encoding."""
    found = read_settings(store(**settings)).store["default"]
    assert isinstance(found, RedisStoreSettings)
    assert found.address == address
    assert "password" not in repr(found)


@pytest.mark.parametrize("url", URLS)
def test_a_url_with_a_password_is_a_warning_for_deployment(
    url: str, settings: Any
) -> None:
    """W012 warns of a password in a URL, since other programs may show it."""
    settings.PUSH_SERVER = store(url=url)
    [message] = check_passwords(None)
    assert message.id == "pushserver.W012"
    assert SECRET not in str(message)
    settings.PUSH_SERVER = store(password=SECRET)
    assert check_passwords(None) == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://a:b@c", "redis://***@c"),
        ("redis://a:b/?#@d@c/0", "redis://***@c/0"),
        ("redis://c?password=b&db=1", "redis://c?password=***&db=1"),
        ("redis://c", "redis://c"),
        ("me@example.com", "me@example.com"),
    ],
)
def test_masking(text: str, masked: str) -> None:
    """The user and the password in a text are masked, and the rest is unchanged."""
    assert mask(text) == masked
    hidden = hide({"a": [text]})["a"][0]
    assert hidden == text
    assert f"{hidden}" == text
    assert repr(hidden) == repr(masked)
    assert isinstance(hidden, SecretText) == (masked != text)
