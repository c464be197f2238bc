"""``manage.py pushserver_publish`` and ``pushserver_watch``, without a server."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

import pushserver.client
from pushserver.client import ListenError, Received
from pushserver.management.commands.pushserver_watch import build_url
from pushserver.terminal import describe_body, escape
from pushserver.test import sent_updates

CONF = {
    "publisher": "locmem",
    "locations": [
        {"type": "publisher", "url": "/send-update/([^/]+)"},
        {"type": "publisher", "url": "/other/([^/]+)", "name": "other"},
        {"type": "subscriber", "url": "/updates/([^/]+)", "public": True},
        {"type": "subscriber", "url": "/signed/([^/]+)", "name": "s", "signed": True},
    ],
}


@pytest.fixture(autouse=True)
def conf() -> Iterator[None]:
    with override_settings(PUSH_SERVER=CONF):
        yield


def run(command: str, *arguments: str) -> tuple[str, str]:
    """Run a command; return what it has written to stdout and to stderr."""
    out, errors = io.StringIO(), io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=errors)
    return out.getvalue(), errors.getvalue()


def test_a_message_is_published_as_it_is_given() -> None:
    """The command publishes JSON unchanged, and prints the id of the message."""
    out, _ = run("pushserver_publish", "a", '{"n":  1}')
    [update] = sent_updates
    assert (update.body, update.data) == (b'{"n":  1}', {"n": 1})
    assert re.fullmatch(r"\d+:\d+ nobody was waiting\n", out)


def test_all_options_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options and the standard input are passed on."""
    stdin = io.TextIOWrapper(io.BytesIO(b"\x00\xff"))
    monkeypatch.setattr(sys, "stdin", stdin)
    words = "--content-type=image/png --event=e --no-keep --expires=5 --location=other"
    run("pushserver_publish", "a", "-", *words.split())
    [update] = sent_updates
    assert update.body == b"\x00\xff"
    assert update.content_type == "image/png"
    assert (update.event, update.keep, update.expires) == ("e", False, 5)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("a", "hello"), "--content-type"),
        (("a", "1", "--location=none"), "No publisher location"),
        (("a", "1", "--expires=0"), "expires"),
    ],
)
def test_why_nothing_was_published(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        run("pushserver_publish", *arguments)
    assert not sent_updates


def test_where_a_channel_is_watched() -> None:
    """The URL is that of the settings, at a host that the option or they name."""
    with pytest.raises(ValueError, match="--url"):
        build_url("a", None, None)
    assert build_url("a", None, "http://h:1/") == "http://h:1/updates/a"
    assert build_url("a", None, "http://h:1/x?token=t") == "http://h:1/x?token=t"
    assert build_url("a", "s", "http://h").startswith("http://h/signed/a?token=")
    with override_settings(PUSH_SERVER={**CONF, "subscriber_host": "push.test"}):
        assert build_url("a", None, None) == "http://push.test/updates/a"
        assert build_url("a", None, "http://h") == "http://h/updates/a"


class Messages:
    """Stands in for ``listen()``; records its arguments."""

    def __init__(self, *messages: Received, error: BaseException) -> None:
        self._messages = messages
        self._error = error
        self.options: dict[str, Any] = {}

    def __call__(self, url: Any, **options: Any) -> Iterator[Received]:
        self.options = {"url": url(), **options}
        yield from self._messages
        raise self._error


def test_messages_are_printed_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message is one line, whatever is in it, and Ctrl-C ends the command."""
    messages = Messages(
        Received(b'{"n": 1}', "5:0", "application/json"),
        Received("né\n\x1b[2J\u202e".encode(), "5:1", "text/plain", event="e\r"),
        Received(b"\xff\x00", "6:0", "image/png", missed="5:9"),
        error=KeyboardInterrupt(),
    )
    monkeypatch.setattr(pushserver.client, "listen", messages)
    words = "--url=http://h --since=4:0 --transport=poll --header=Cookie:a=b"
    out, errors = run("pushserver_watch", "a", *words.split())
    assert out.splitlines() == [
        '5:0 {"n": 1}',
        r"5:1 [e\r] né\n\x1b[2J\u202e",
        "6:0 <2 bytes of image/png>",
    ]
    assert errors.splitlines() == [
        "Listening at http://h/updates/a",
        "Missed: all up to 5:9",
    ]
    assert messages.options == {
        "url": "http://h/updates/a",
        "after": "4:0",
        "transport": "poll",
        "headers": {"Cookie": "a=b"},
    }


def test_a_refusal_shows_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed has no token."""
    url = build_url("a", "s", "http://h")
    messages = Messages(error=ListenError(url, 403, "no right"))
    monkeypatch.setattr(pushserver.client, "listen", messages)
    with pytest.raises(CommandError) as caught:
        run("pushserver_watch", "a", "--location=s", "--url=http://h")
    assert str(caught.value) == "http://h/signed/a: no right"


def test_bad_options_of_watching() -> None:
    with pytest.raises(CommandError, match="Name: value"):
        run("pushserver_watch", "a", "--url=http://h", "--header=nonsense")
    with pytest.raises(CommandError, match="No subscriber location"):
        run("pushserver_watch", "a", "--url=http://h", "--location=none")


def test_terminals_are_not_commanded() -> None:
    """Text of others becomes one line without control characters."""
    assert escape("a\tb\x9b31m\u2028") == r"a\tb\x9b31m\u2028"
    assert describe_body("日本".encode(), "text/plain") == "日本"
    assert describe_body(b"\xff", "") == "<1 bytes>"
