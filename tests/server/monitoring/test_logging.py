"""What is logged, by which loggers, and what never is."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pushserver
import pushserver_channels
from pushserver.access.tokens import make_token
from pushserver_channels.access.revocation import Revocation
from pushserver_channels.hub import hubs
from tests.server.exchanges import Serve
from tests.server.streams import EVENTS, EventExchange, SocketExchange, open_stream

pytestmark = pytest.mark.usefixtures("nothing_left")

SECRET = "a-secret-that-nobody-may-read"


def list_loggers(package: Any) -> set[str]:
    """Return the names of the loggers in the source of a package."""
    found = set()
    for path in Path(package.__file__).parent.rglob("*.py"):
        module = ".".join(path.relative_to(path.parents[1]).with_suffix("").parts)
        for name in re.findall(r"getLogger\((.*?)\)", path.read_text()):
            found.add(module if name == "__name__" else name.strip("\"'"))
    return found


def test_all_loggers_are_in_one_tree() -> None:
    """One logger configures all that both packages log."""
    names = list_loggers(pushserver_channels)
    assert names == {
        "pushserver.access",
        "pushserver.limits",
        "pushserver.passthrough",
        "pushserver.presence",
        "pushserver.server",
        "pushserver.store",
    }
    assert "pushserver.updates" in list_loggers(pushserver)


def list_calls(package: Any) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls that log what an operator should know, and where they are."""
    for path in Path(package.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and ast.unparse(node.func.value).endswith("logger")
                and node.func.attr in ("warning", "error", "exception", "critical")
            ):
                yield f"{path.name}:{node.lineno}", node


@pytest.mark.parametrize("package", [pushserver, pushserver_channels])
def test_all_warnings_and_errors_have_details(package: Any) -> None:
    """Each record that asks for an operator has attributes besides its text."""
    calls = dict(list_calls(package))
    assert calls
    lacking = [
        place
        for place, call in calls.items()
        if "extra" not in {each.arg for each in call.keywords}
    ]
    assert lacking == []


def test_what_is_logged_once_a_minute_has_a_reason() -> None:
    """The details of the last event are those of the record."""
    seen, lacking = 0, []
    for path in Path(pushserver_channels.__file__).parent.rglob("*.py"):
        text = path.read_text()
        logs = re.findall(r"self\.(\w+) = PacedLog\(", text)
        for node in ast.walk(ast.parse(text)) if logs else ():
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) in {f"self.{name}.add" for name in logs}:
                seen += 1
                if "extra" not in {each.arg for each in node.keywords}:
                    lacking.append(f"{path.name}:{node.lineno}")
    assert seen
    assert lacking == []


def find(caplog: pytest.LogCaptureFixture, text: str) -> logging.LogRecord:
    """Return the one record whose text begins with another."""
    [record] = [each for each in caplog.records if each.getMessage().startswith(text)]
    return record


async def fail(*args: Any, **options: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("kind", "text", "transport"),
    [
        ("poll", "Cannot answer GET /updates/a", "poll"),
        ("stream", "Cannot answer GET /updates/a", "eventsource"),
        ("socket", "Cannot answer the WebSocket to /updates/a", "websocket"),
    ],
)
async def test_records_have_details(
    monitored: Serve,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    text: str,
    transport: str,
) -> None:
    """A request that fails is logged with its channels, client and transport."""
    site = monitored(subscriber={"separator": ","}, max_held_per_client=5)
    store = hubs.get("default").store
    for name in ("next", "position", "info", "page"):
        monkeypatch.setattr(store, name, fail)
    monkeypatch.setattr(store, "has_nothing", lambda *args: 1 / 0)
    path = "/updates/a,b?first_message=newest&last_event_id=newest"
    if kind == "socket":
        exchange: Any = SocketExchange(site, path)
        assert exchange.future
    elif kind == "stream":
        exchange = EventExchange(site.application, "GET", path, [EVENTS]).start()
    else:
        exchange = site.exchange("GET", path).start()
    await exchange.end()
    record: Any = find(caplog, text)
    assert record.levelname == "ERROR"
    assert record.name == "pushserver.server"
    assert record.channel_id == "a,b"
    assert record.client == "127.0.0.1"
    assert record.transport == transport
    assert record.reason == "failed"


async def test_limits_are_logged_with_the_client(
    monitored: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A client over its limit is named in the record."""
    site = monitored(max_held_per_client=1)
    held = await site.hold("/updates/a")
    assert (await site.ask("GET", "/updates/a")).status == 429
    record: Any = find(caplog, "1 subscribers were refused")
    assert record.name == "pushserver.limits"
    assert (record.levelname, record.reason) == ("WARNING", "limited")
    assert record.client == "127.0.0.1"
    await site.post("a")
    await held.answer()


async def test_tokens_and_bodies_are_never_logged(
    monitored: Serve,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No record, at any level, holds a token or the body of a message."""
    caplog.set_level(logging.DEBUG)
    site = monitored(
        publisher={"signed": True, "max_message_size": 100},
        subscriber={"signed": True},
    )
    token = make_token("default", ["a"], expires=60)
    bearer = [(b"authorization", f"Bearer {token}".encode())]
    body = SECRET.encode()
    path = f"/updates/a?token={token}"
    await site.post("a", body, bearer)
    await site.post("a", body * 9, bearer)
    assert (await site.ask("GET", path)).status == 200
    stream = await open_stream(site, path)
    await stream.until(1)

    def break_down(*args: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(stream, "put_body", break_down)
        store = hubs.get("default").store
        for name in ("next", "page", "position", "info", "append"):
            patch.setattr(store, name, fail)
        assert (await site.ask("GET", path)).status == 500
        assert (await site.ask("GET", "/updates/a", bearer)).status == 500
        assert (await site.post("a", body, bearer)).status == 500
        socket = SocketExchange(site, path)
        assert socket.future
        await socket.end()
    await hubs.stop()
    await stream.until_ended()
    assert sum(each.levelname == "ERROR" for each in caplog.records) == 4
    formatter = logging.Formatter()
    for record in caplog.records:
        shown = f"{formatter.format(record)} {vars(record)}"
        assert token not in shown
        assert SECRET not in shown


def test_unreadable_revocations_are_not_shown() -> None:
    """What cannot be read may hold the key of a session."""
    for body in (b"[]", b'{"session": "%s"}' % SECRET.encode(), SECRET.encode()):
        with pytest.raises(ValueError) as caught:
            Revocation.parse(body)
        assert SECRET not in str(caught.value)
