"""The reference names all that there is, and nothing else."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator

import pytest
from django.core.management import load_command_class
from django.template import engines

import pushserver_channels.exceptions
from pushserver import conf
from pushserver.conf.readers import InvalidSetting
from pushserver_channels.exceptions import PushError, Unauthorized
from pushserver_channels.metrics.names import METRICS
from tests.servers import ROOT

REFERENCE = ROOT / "docs/reference"

_SETTING = re.compile(
    r"^\.\. setting:: (?P<name>\S+)\n\n"
    r"   :type: (?P<type>.+)\n   :default: (?P<default>.+)\n   :since: (?P<since>.+)\n",
    re.MULTILINE,
)


def read(page: str) -> str:
    """Return the text of a page of the reference."""
    return (REFERENCE / f"{page}.rst").read_text(encoding="utf-8")


#: The documented settings by name.
DOCUMENTED = {match["name"]: match for match in _SETTING.finditer(read("settings"))}

#: The dataclasses of the settings. What a parent has is documented with the parent.
SECTIONS: dict[str, type] = {
    "": conf.PushServerSettings,
    "store.": conf.MemoryStoreSettings,
    "redis.": conf.RedisStoreSettings,
    "channel_layer.": conf.ChannelLayerStoreSettings,
    "location.": conf.Location,
    "publisher.": conf.PublisherLocation,
    "subscriber.": conf.SubscriberLocation,
    "monitoring.": conf.MonitoringLocation,
}
PARENTS = {
    "redis.": "store.",
    "channel_layer.": "store.",
    "publisher.": "location.",
    "subscriber.": "location.",
    "monitoring.": "location.",
}


def list_settings() -> Iterator[tuple[str, dataclasses.Field[object]]]:
    """Yield each setting with its documented name."""
    for prefix, section in SECTIONS.items():
        parent = SECTIONS.get(PARENTS.get(prefix, "none"))
        known = {each.name for each in dataclasses.fields(parent)} if parent else set()
        for field in dataclasses.fields(section):
            if field.name not in known:
                yield prefix + field.name, field


SETTINGS = dict(list_settings())


def test_each_setting_is_documented() -> None:
    """The settings in the reference are those of the dataclasses, and the prefix."""
    assert set(DOCUMENTED) == {*SETTINGS, "location.prefix"}
    assert read("settings").count(".. setting::") == len(DOCUMENTED)


@pytest.mark.parametrize("name", SETTINGS)
def test_default_of_a_setting(name: str) -> None:
    """The documented default is the one that is applied; ``since`` is a version."""
    match, field = DOCUMENTED[name], SETTINGS[name]
    assert match["since"] in ("0.3", "1.0")
    if field.default is dataclasses.MISSING:
        assert field.default_factory is not dataclasses.MISSING or (
            match["default"].startswith("required")
        )
        return
    documented = ast.literal_eval(match["default"].strip("`"))
    expected = field.default
    assert documented == (list(expected) if expected == () else expected)


def test_names_of_settings_are_links() -> None:
    """A text that is refused names a setting which is in the reference."""
    with pytest.raises(InvalidSetting) as caught:
        conf.read_settings({"drian": 1})
    assert "drain" in str(caught.value) and "drain" in DOCUMENTED


PUBLIC = (
    "pushserver.updates",
    "pushserver.access",
    "pushserver.presence",
    "pushserver.client",
    "pushserver.test",
)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_documented(name: str) -> None:
    """The reference shows each public name of a module, which has a docstring."""
    module, page = importlib.import_module(name), read("python")
    assert f".. automodule:: {name}\n" in page
    for each in module.__all__:
        assert re.search(rf":: ({name}\.)?{each}\n|   :members:.*\b{each}\b", page), (
            each
        )
        documented = getattr(module, each)
        assert documented.__doc__ or each == "sent_updates", each


def list_exceptions() -> Iterator[type[Exception]]:
    """Yield the exceptions of the server that requests are answered with."""
    for each in vars(pushserver_channels.exceptions).values():
        if isinstance(each, type) and issubclass(each, PushError):
            yield each


def test_each_exception_is_documented() -> None:
    """Each public exception is described, and each status with its exceptions."""
    page = read("errors")
    for module, names in {
        "pushserver.publishers": ("PublishError", "UpdatesFailed"),
        "pushserver.access": ("RevocationError",),
        "pushserver.presence": ("PresenceError",),
        "pushserver.client": ("ListenError",),
        "pushserver.signals": ("ReceiverExited",),
        "pushserver.conf": ("InvalidSetting",),
    }.items():
        for name in names:
            assert issubclass(getattr(importlib.import_module(module), name), Exception)
            assert f"``{module}.{name}``" in page
    for error in list_exceptions():
        # The most general one with the status has a line; the others have its status.
        family = [
            each
            for each in error.__mro__
            if issubclass(each, PushError) and each.status == error.status
        ]
        if error is not PushError:
            assert any(f"``{each.__name__}``" in page for each in family), error
            assert re.search(rf"\* - {error.status}\n", page), error


def test_each_close_code_is_documented() -> None:
    """The close codes of WebSockets in the source are those in the reference."""
    source = (ROOT / "pushserver_channels/consumers/websocket.py").read_text()
    used = set(re.findall(r"\b4[45]\d\d\b", source))
    used.add(str(4000 + Unauthorized.status))  # It is computed.
    documented = re.findall(r"^(4\d{3}) ", read("transports"), re.MULTILINE)
    assert set(documented) == used


def test_each_event_of_the_server_is_documented() -> None:
    """The names of the events that the server sends are in the reference."""
    source = "".join(
        path.read_text() for path in (ROOT / "pushserver_channels").rglob("*.py")
    )
    used = set(re.findall(r"\"(push-[a-z]+)\"", source)) - {"push-location"}
    page = read("transports")
    assert {each for each in used if f"``{each}``" not in page} <= {
        "push-client",
        "push-exclude",
    }


def test_each_metric_is_documented() -> None:
    """Each metric is in the table of the page that the reference includes."""
    page = (ROOT / "docs/howto/monitoring.rst").read_text()
    assert [each.name for each in METRICS if f"``{each.name}" not in page] == []


COMMANDS = [
    path.stem
    for path in sorted((ROOT / "pushserver/management/commands").glob("[a-z]*.py"))
]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_of_a_command_is_documented(name: str) -> None:
    """The options that a command adds are in the reference."""
    parser = load_command_class("pushserver", name).create_parser("manage.py", name)
    usual = {
        *("--help", "--version", "--verbosity", "--settings", "--pythonpath"),
        *("--traceback", "--no-color", "--force-color", "--skip-checks"),
    }
    options = {
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    page = read("commands")
    assert f"``{name}" in page
    assert {each for each in options - usual if f"``{each}" not in page} == set()


def test_each_template_tag_is_documented() -> None:
    """The tags of the library are in the reference."""
    tags = engines["django"].engine.template_libraries["pushserver"].tags
    page = read("templates")
    assert {each for each in tags if f"``{{% {each}" not in page} == set()


def test_each_name_in_javascript_is_documented() -> None:
    """The members of the interfaces in ``updates.d.ts`` are in the reference."""
    types = (ROOT / "pushserver/static/pushserver/updates.d.ts").read_text()
    page = read("javascript")
    missing = set()
    for interface in re.findall(
        r"^export interface [^{]+\{\n(.*?)^\}", types, re.S | re.M
    ):
        for name in re.findall(r"^    (?:readonly )?(\w+)\??[:(<]", interface, re.M):
            if not re.search(rf"\b{name}\b", page):
                missing.add(name)
    # Those of the browser's own EventSource, which updates.eventSource() has as well.
    assert missing <= {"CONNECTING", "OPEN", "onopen", "onmessage", "onerror"}


def test_each_script_is_documented() -> None:
    """Each file of the client is in the reference."""
    page = read("javascript")
    for path in (ROOT / "pushserver/static/pushserver").glob("*.js"):
        assert f"``{path.name}``" in page
