from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from pushserver import checks as setting_checks
from pushserver import site_checks
from pushserver.limit_checks import check_proxies

from .blocks import OLD_BLOCK
from .servers import ROOT

#: A store for which the checks report no W005.
STORE = {"type": "memory", "max_messages": 100}


def run(block: Any, settings: LazySettings, **others: Any) -> list[checks.CheckMessage]:
    """Return what the checks report for a block and other settings."""
    settings.PUSH_SERVER = block
    for name, value in others.items():
        setattr(settings, name, value)
    messages: list[checks.CheckMessage] = checks.run_checks(tags=["pushserver"])
    return messages


def locations(*patterns: str, **keys: Any) -> dict[str, Any]:
    """Return a block with a subscriber location for each pattern."""
    each = [{"type": "subscriber", "url": pattern, **keys} for pattern in patterns]
    return {"store": STORE, "locations": each}


def publisher(**keys: Any) -> dict[str, Any]:
    """Return a block with one publisher location."""
    return {
        "store": STORE,
        "locations": [{"type": "publisher", "url": "/send-update/(.+)", **keys}],
    }


@pytest.mark.parametrize(
    "block",
    [
        OLD_BLOCK,
        {"store": STORE},
        locations(r"/a/([^/]+)", r"/b/([^/]+)"),
        locations(),
        locations(r"/updates/(.+)", passthrough="/with-slash/"),
        publisher(allow_from="any"),
    ],
)
def test_valid_settings_give_no_messages(block: Any, settings: LazySettings) -> None:
    """The old block and other valid blocks give no messages."""
    assert run(block, settings) == []


def test_invalid_setting_is_an_error(settings: LazySettings) -> None:
    """E001 is one sentence that names the setting, with a hint how to correct it."""
    [message] = run(locations("/updates/(.+)", polling="lnog"), settings)
    assert message.id == "pushserver.E001"
    assert message.is_serious()
    assert message.msg == "PUSH_SERVER['locations'][0]['polling'] is 'lnog'."
    assert message.hint == "Did you mean 'long'?"


def test_invalid_setting_fails_the_command(settings: LazySettings) -> None:
    """The command "check" fails and shows the error and the hint."""
    settings.PUSH_SERVER = {"locatons": []}
    with pytest.raises(SystemCheckError) as caught:
        call_command("check")
    told = str(caught.value)
    assert "(pushserver.E001) PUSH_SERVER['locatons'] is not a known setting." in told
    assert "HINT: Did you mean 'locations'?" in told


def test_warning_does_not_fail_the_command(
    settings: LazySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command "check" shows a warning with its hint and succeeds."""
    settings.PUSH_SERVER = {}
    call_command("check")
    told = capsys.readouterr().err
    assert "(pushserver.W005)" in told
    assert "HINT: Set max_messages, message_timeout, or both." in told


def test_unreachable_location_is_a_warning(settings: LazySettings) -> None:
    """W001 names the location that is never reached and the one that hides it."""
    [message] = run(locations(r"/(.+)", r"/updates/([^/]+)"), settings)
    assert message.id == "pushserver.W001"
    assert not message.is_serious()
    assert message.msg.startswith("PUSH_SERVER['locations'][1] is hidden by [0]")
    assert message.hint is not None


def test_hidden_metrics_are_a_warning(settings: LazySettings) -> None:
    """W001 also names a location without channels that is never reached."""
    metrics = {"type": "metrics", "url": "/metrics"}
    health = {"type": "health", "url": "/health"}
    block = locations("/(.+)")["locations"]
    messages = run({"store": STORE, "locations": [*block, metrics, health]}, settings)
    assert [each.id for each in messages] == ["pushserver.W001"] * 2
    assert "'/metrics'" in messages[0].msg
    assert run({"store": STORE, "locations": [metrics, health, *block]}, settings) == []


@pytest.mark.parametrize(
    ("patterns", "hidden"),
    [
        ([r"/updates/(.+)", r"/updates/(.+)"], 1),
        ([r"/updates/(.+)", r"/updates/news/([^/]+)"], 1),
        ([r"/u/(.+)", r"/v/(.+)", r"/u/x/(.+)"], 1),
        ([r"/u/([^/]+)", r"/u/(.+)", r"/u/([^/]+)"], 1),
        ([r"/u/(\d+)", r"/u/(\d+)"], 1),
        ([r"/u/(.+)", r"/u/(\d+)"], 1),
        ([r"/u/([^/]+)/x", r"/u/([^/]+)"], 0),
        ([r"/updates/news/([^/]+)", r"/updates/(.+)"], 0),
        ([r"/u/([a-z]+)", r"/u/(\d+)"], 0),
        ([r"/u/(\d+)", r"/u/(.+)"], 0),
        ([r"(?i)/U/(.+)", r"/u/(.+)"], 1),
    ],
)
def test_location_is_unreachable_behind_an_earlier_one(
    patterns: list[str], hidden: int, settings: LazySettings
) -> None:
    """A location gives a warning if an earlier one matches all of its paths."""
    found = [message.id for message in run(locations(*patterns), settings)]
    assert found == ["pushserver.W001"] * hidden


@pytest.mark.parametrize(
    "pattern",
    [
        r"/{site}/(.+)",
        r"/a{,2}/(.+)",
        r"/(?i:updates)/(.+)",
        r"/100%/(.+)",
        r"/a/(.+)|/b/",
        r"/(.+)\1",
        r"()",
    ],
)
def test_checks_accept_any_pattern(pattern: str, settings: LazySettings) -> None:
    """The checks accept any pattern that compiles, and never raise an exception."""
    assert run(locations(pattern, r"/other/(.+)"), settings) == []


@pytest.mark.parametrize(
    "proxied",
    [
        {"USE_X_FORWARDED_HOST": True},
        {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")},
    ],
)
def test_local_proxy_that_opens_publishing_is_a_warning(
    proxied: dict[str, Any], settings: LazySettings
) -> None:
    """W002: behind a proxy on this machine, every client seems to be local."""
    [message] = run(publisher(), settings, **proxied)
    assert message.id == "pushserver.W002"
    assert message.msg.startswith("PUSH_SERVER['locations'][0] lets this machine")
    assert message.hint is not None
    assert "X-Forwarded-For" in message.hint


@pytest.mark.parametrize(
    ("allow_from", "warned"),
    [
        (["127.0.0.1"], True),
        (["::1"], True),
        (["0.0.0.0/0"], True),
        (["10.0.0.1", "127.0.0.0/8"], True),
        (["10.0.0.1", "unix"], True),
        (["10.0.0.1"], False),
        ([], False),
        ("any", False),
    ],
)
def test_proxy_warning_is_about_loopback_only(
    allow_from: Any, warned: bool, settings: LazySettings
) -> None:
    """W002 is only about addresses of this machine; "any" is a deliberate choice."""
    found = run(publisher(allow_from=allow_from), settings, USE_X_FORWARDED_HOST=True)
    assert [message.id for message in found] == ["pushserver.W002"] * warned


def test_passthrough_without_a_view_is_a_warning(settings: LazySettings) -> None:
    """W003 names the path that is missing in the URLconf, and what to add."""
    block = locations("/updates/(.+)", passthrough="http://127.0.0.1:8000/nowhere")
    [message] = run(block, settings)
    assert message.id == "pushserver.W003"
    assert "['locations'][0]['passthrough'] is '/nowhere'" in message.msg
    assert "include('pushserver.urls')" in str(message.hint)


@pytest.mark.parametrize("remove", [True, False])
def test_a_project_without_a_urlconf_can_be_checked(
    remove: bool, settings: LazySettings
) -> None:
    """The checks work for a site without a URLconf."""
    settings.ROOT_URLCONF = None
    if remove:
        del settings.ROOT_URLCONF
    found = run(locations("/updates/(.+)", passthrough="/passthrough"), settings)
    assert {message.id for message in found} <= {"pushserver.W003"}


def test_direct_publishing_without_a_shared_store_is_a_warning(
    settings: LazySettings,
) -> None:
    """W004: direct publishing from another process needs a shared store."""
    [message] = run({**publisher(), "publisher": "direct"}, settings)
    assert message.id == "pushserver.W004"
    assert "'direct'" in message.msg
    assert "'auto'" in str(message.hint)
    for other in ("auto", "http"):
        assert run({**publisher(), "publisher": other}, settings) == []


def test_recording_messages_in_production_is_a_warning(settings: LazySettings) -> None:
    """W018: with ``--deploy``, messages that are only recorded reach nobody."""
    settings.PUSH_SERVER = {"publisher": "locmem"}
    assert [each.id for each in setting_checks.check_publisher(None)] == [
        "pushserver.W018"
    ]
    for other in ("auto", "http", "nonsense"):
        settings.PUSH_SERVER = {"publisher": other}
        assert setting_checks.check_publisher(None) == []


@pytest.mark.parametrize(
    ("limits", "warned"),
    [
        ({}, True),
        ({"max_messages": 0, "message_timeout": 0, "channel_timeout": 1}, True),
        ({"max_messages": 1}, False),
        ({"message_timeout": 0.5}, False),
    ],
)
def test_a_store_without_limits_is_a_warning(
    limits: dict[str, Any], warned: bool, settings: LazySettings
) -> None:
    """W005 names the store that keeps messages without any limit."""
    block = {"store": {"default": STORE, "news": {"type": "memory", **limits}}}
    found = run(block, settings)
    assert [message.id for message in found] == ["pushserver.W005"] * warned
    assert all("'news'" in message.msg and message.hint for message in found)


def test_all_warnings_are_reported_at_once(
    settings: LazySettings,
) -> None:
    """The checks report all warnings at once, each with a hint."""
    block = {
        "publisher": "direct",
        "locations": [
            {"type": "publisher", "url": "/(.+)"},
            {"type": "subscriber", "url": "/updates/(.+)", "passthrough": "/nowhere"},
        ],
    }
    found = run(block, settings, USE_X_FORWARDED_HOST=True)
    assert [message.id for message in found] == [
        f"pushserver.W00{number}" for number in range(1, 6)
    ]
    assert all(message.hint for message in found)


def test_each_id_belongs_to_one_check() -> None:
    """Each id belongs to one check, so silencing it silences no other check."""
    owners: dict[str, set[str]] = {}
    for module in (setting_checks, site_checks):
        for function in ast.parse(Path(module.__file__).read_text()).body:
            for node in ast.walk(function):
                if isinstance(node, ast.keyword) and node.arg == "id":
                    assert isinstance(node.value, ast.Constant)
                    owner = getattr(function, "name", "")
                    owners.setdefault(node.value.value, set()).add(owner)
    assert len(owners) == 16
    assert {each: names for each, names in owners.items() if len(names) > 1} == {}


def test_each_check_is_documented() -> None:
    """The id of each check is in the table of the documentation, and no other one."""
    used = {
        each
        for path in (ROOT / "pushserver").rglob("*.py")
        for each in re.findall(r'id="pushserver\.([EW]\d{3})"', path.read_text())
    }
    page = (ROOT / "docs/reference/errors.rst").read_text()
    _, _, table = page.partition("\nChecks\n---")
    assert set(re.findall(r"^``([EW]\d{3})`` ", table, re.MULTILINE)) == used


@pytest.mark.parametrize(
    ("block", "warned"),
    [
        ({}, True),
        ({"max_held_per_client": 50}, True),
        ({"max_held_per_client": 0}, False),
        ({"trusted_proxies": ["127.0.0.1"]}, False),
        ({"trusted_proxies": ["unix"]}, False),
        ({"locations": [{"type": "publisher", "prefix": "/a/"}]}, False),
        ({"max_held": -1}, False),  # Another check reports it.
    ],
)
def test_proxy_that_is_not_named_is_a_warning(
    block: dict[str, Any], warned: bool, settings: LazySettings
) -> None:
    """W017: the settings say that there is a proxy, and not which one."""
    settings.PUSH_SERVER = block
    assert check_proxies(None) == []
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert [each.id for each in check_proxies(None)] == ["pushserver.W017"] * warned
