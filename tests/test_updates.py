from __future__ import annotations

import asyncio
import datetime
import decimal
import json
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import Request

import httpx
import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.test import override_settings
from django.utils.translation import gettext_lazy

from pushserver.publishers import PublishError, Receipt
from pushserver.signals import ReceiverExited, post_send_update, pre_send_update
from pushserver.updates import (
    asend_update,
    asend_updates,
    publisher_url,
    send_update,
    send_updates,
    subscriber_url,
)

from . import http
from .servers import LOCATIONS, ServerProcess, free_port

JSON = "application/json; charset=utf-8"


@pytest.fixture(autouse=True)
def site(server: ServerProcess, settings: LazySettings) -> None:
    """A site in this process whose push server is another process."""
    settings.PUSH_SERVER = {
        "publisher_host": f"127.0.0.1:{server.port}",
        "subscriber_host": f"127.0.0.1:{server.port}",
        "locations": LOCATIONS,
    }


@pytest.fixture
def nobody(settings: LazySettings) -> str:
    """The host of the site's push server, which is down."""
    host = f"127.0.0.1:{free_port()}"
    settings.PUSH_SERVER = {"publisher_host": host, "locations": LOCATIONS}
    return host


@pytest.fixture
def signals() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The signals of updates that were sent, in order."""
    heard: list[tuple[str, dict[str, Any]]] = []

    def hear_pre(signal: Any, **kwargs: Any) -> None:
        heard.append(("pre", kwargs))

    def hear_post(signal: Any, **kwargs: Any) -> None:
        heard.append(("post", kwargs))

    pre_send_update.connect(hear_pre)
    post_send_update.connect(hear_post)
    yield heard
    pre_send_update.disconnect(hear_pre)
    post_send_update.disconnect(hear_post)


@pytest.fixture
def channel_id() -> str:
    """A channel that no other test uses."""
    return uuid.uuid4().hex


def received(channel_id: object) -> httpx.Response:
    """Return the first message of a channel as a subscriber receives it."""
    url = subscriber_url(channel_id).replace("/updates/", "/interval/")
    return http.get(url)


NOW = datetime.datetime(2026, 11, 22, 14, 30, 1, 5000, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        ({"a": [1, 2.5, None, True]}, {"a": [1, 2.5, None, True]}),
        ("käse \U0001f4ec \0 </script>", "käse \U0001f4ec \0 </script>"),
        (None, None),
        ([], []),
        ("", ""),
        (NOW, "2026-11-22T14:30:01.005Z"),
        (datetime.timedelta(days=1), "P1DT00H00M00S"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        ({"label": gettext_lazy("News")}, {"label": "News"}),
        ({1: 2}, {"1": 2}),
        (10**400, 10**400),
        ("x" * 500_000, "x" * 500_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_data_is_sent_as_json(data: Any, seen: Any, channel_id: str) -> None:
    """The output of Django's JSON encoder arrives with its type and length."""
    receipt = send_update(channel_id, data)
    assert receipt is not None
    assert receipt.status == 202
    assert not receipt.delivered
    assert receipt.info is not None
    assert receipt.info["messages"] == 1
    response = received(channel_id)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == JSON
    assert int(response.headers["Content-Length"]) == len(response.content)
    assert json.loads(response.content) == seen


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ('{"a": "käse"}', '{"a": "käse"}'.encode()),
        ("\U0001f4ec", "\U0001f4ec".encode()),
        ("", b""),
        (b"", b""),
        (b"\x00\xff\r\n\r\n0\r\n\r\n", b"\x00\xff\r\n\r\n0\r\n\r\n"),
        (bytearray(b"[1]"), b"[1]"),
        (memoryview(b"[1, 2]")[::2], b"[,2"),
        (json.dumps({"a": "ä"}, ensure_ascii=False), '{"a": "ä"}'.encode()),
    ],
)
def test_serialized_data_is_sent_unchanged(
    data: Any, body: bytes, channel_id: str
) -> None:
    """Text is sent as UTF-8 and bytes unchanged, with the length in bytes."""
    send_update(channel_id, data, already_serialized=True)
    response = received(channel_id)
    assert response.status_code == 200
    assert response.content == body
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["Content-Type"] == JSON


@pytest.mark.parametrize("data", [{"a": 1}, None, 5, ["x"], gettext_lazy("x")])
def test_serialized_data_must_be_text_or_bytes(data: Any) -> None:
    """Serialized data that is neither text nor bytes raises TypeError."""
    with pytest.raises(TypeError, match="must be str or bytes, not"):
        send_update("news", data, already_serialized=True)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_nan_is_refused(number: float, channel_id: str, signals: list[Any]) -> None:
    """A NaN, which no browser could parse, raises ValueError and nothing is sent."""
    with pytest.raises(ValueError, match="JSON"):
        send_update(channel_id, {"a": [number]})
    assert received(channel_id).status_code == 304
    assert signals == []


@pytest.mark.parametrize("data", [object(), {1, 2}, b"bytes", {(1, 2): 3}])
def test_unserializable_data_is_a_type_error(
    data: Any, channel_id: str, settings: LazySettings
) -> None:
    """Data that cannot be serialized raises TypeError even with ignore_errors."""
    settings.PUSH_SERVER_IGNORE_ERRORS = True
    with pytest.raises(TypeError):
        send_update(channel_id, data, ignore_errors=True)


@pytest.mark.parametrize(
    "channel_id", [17, uuid.UUID(int=17), gettext_lazy("lazy"), 1.5, "käse/a b?c#%d"]
)
def test_id_is_converted_to_text(channel_id: object) -> None:
    """A primary key or a UUID is converted to text as a channel id."""
    data = uuid.uuid4().hex
    http.delete(publisher_url(channel_id))
    send_update(channel_id, data)
    assert received(str(channel_id)).json() == data


@pytest.mark.parametrize("channel_id", [b"news", bytearray(b"news"), None])
def test_bytes_and_none_are_refused_as_ids(channel_id: object) -> None:
    """Bytes and None are refused, since nobody subscribes to "b'news'" or "None"."""
    for make_url in (publisher_url, subscriber_url):
        with pytest.raises((TypeError, ValueError)):
            make_url(channel_id)


def test_signals_carry_the_update(
    channel_id: str, signals: list[tuple[str, dict[str, Any]]]
) -> None:
    """Both signals carry the same update; the second also has the receipt."""
    data = {"käse": [1]}
    receipt = send_update(channel_id, data)
    assert [name for name, _ in signals] == ["pre", "post"]
    for _, said in signals:
        assert said["sender"] is send_update
        assert said["channel_id"] is channel_id
        assert said["data"] is data
        assert said["already_serialized"] is False
        assert isinstance(said["request"], Request)
        assert said["request"] is signals[0][1]["request"]
    request = signals[0][1]["request"]
    assert request.full_url == publisher_url(channel_id)
    assert request.get_method() == "POST"
    assert json.loads(request.data) == data
    assert request.get_header("Content-type") == JSON
    assert "response" not in signals[0][1]
    assert signals[1][1]["response"] is receipt


def test_signals_carry_serialized_data_unchanged(
    channel_id: str, signals: list[tuple[str, dict[str, Any]]]
) -> None:
    """The signals carry serialized data unchanged and marked as serialized."""
    send_update(channel_id, "[1]", True)
    for _, said in signals:
        assert said["already_serialized"] is True
        assert said["data"] == "[1]"
        assert said["request"].data == b"[1]"


def test_signal_has_the_raised_exception(
    nobody: str, signals: list[tuple[str, dict[str, Any]]]
) -> None:
    """When publishing fails, the second signal has the raised exception."""
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert [name for name, _ in signals] == ["pre", "post"]
    assert signals[1][1]["response"] is caught.value


def test_signal_has_an_ignored_exception(
    nobody: str, signals: list[tuple[str, dict[str, Any]]]
) -> None:
    """The second signal has the exception even if it is ignored."""
    assert send_update("news", {}, ignore_errors=True) is None
    assert isinstance(signals[1][1]["response"], PublishError)


def test_other_exceptions_are_never_ignored(
    settings: LazySettings,
    signals: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exception other than PublishError is never ignored, and is in the signal."""
    settings.PUSH_SERVER = {"publisher": "direct"}
    monkeypatch.setitem(sys.modules, "pushserver_channels.publishers", None)
    with pytest.raises(ImproperlyConfigured) as caught:
        send_update("news", {}, ignore_errors=True)
    assert signals[1][1]["response"] is caught.value


def test_receivers_may_be_async(channel_id: str) -> None:
    """A coroutine function can be a receiver."""
    heard = []

    async def hear(signal: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        heard.append(kwargs["channel_id"])

    pre_send_update.connect(hear)
    try:
        send_update(channel_id, {})
    finally:
        pre_send_update.disconnect(hear)
    assert heard == [channel_id]


def test_receiver_may_send_another_update(channel_id: str) -> None:
    """A receiver of the signal can send an update to another channel."""

    def copy(signal: Any, channel_id: str, data: Any, **kwargs: Any) -> None:
        if not channel_id.endswith("-copy"):
            send_update(f"{channel_id}-copy", data)

    post_send_update.connect(copy)
    try:
        send_update(channel_id, [5])
    finally:
        post_send_update.disconnect(copy)
    assert received(f"{channel_id}-copy").json() == [5]


def test_exception_of_a_first_receiver_stops_the_update(channel_id: str) -> None:
    """An exception of a receiver of the first signal stops the update."""

    def forbid(signal: Any, **kwargs: Any) -> None:
        raise PermissionError("not now")

    pre_send_update.connect(forbid)
    try:
        with pytest.raises(PermissionError, match="not now"):
            send_update(channel_id, {})
    finally:
        pre_send_update.disconnect(forbid)
    assert received(channel_id).status_code == 304


@pytest.mark.parametrize("error", [KeyError("late"), SystemExit(3)])
def test_exception_of_a_second_receiver_is_logged(
    channel_id: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """What is published has not failed, whatever a receiver of the second signal does.

    Otherwise it would be published again, and a commit would seem to have failed.
    """
    heard = []

    def fail(signal: Any, **kwargs: Any) -> None:
        raise error

    async def hear(signal: Any, **kwargs: Any) -> None:
        heard.append(kwargs["data"])

    def publish() -> None:
        assert send_update(channel_id, 1) is not None
        assert asyncio.run(asend_update(channel_id, 2)) is not None
        assert send_updates([(channel_id, 3)]) is not None
        assert asyncio.run(asend_updates([(channel_id, 4)])) is not None

    post_send_update.connect(fail)
    post_send_update.connect(hear)
    try:
        with ThreadPoolExecutor() as threads:  # SystemExit may end a main thread.
            threads.submit(publish).result()
    finally:
        post_send_update.disconnect(fail)
        post_send_update.disconnect(hear)
    assert heard == [1, 2, 3, 4]
    assert len([each for each in caplog.records if "fail" in each.message]) == 4


def test_system_exit_of_a_receiver_ends_no_event_loop(channel_id: str) -> None:
    """SystemExit in a receiver becomes an error on an event loop, but ends a script."""

    def leave(signal: Any, **kwargs: Any) -> None:
        raise SystemExit(3)

    async def leave_async(signal: Any, **kwargs: Any) -> None:
        raise SystemExit(3)

    for receiver in (leave, leave_async):
        pre_send_update.connect(receiver)
        try:
            with pytest.raises(ReceiverExited, match=r"leave.*SystemExit\(3\)"):
                asyncio.run(asend_update(channel_id, {}))
        finally:
            pre_send_update.disconnect(receiver)
    pre_send_update.connect(leave)
    try:
        with pytest.raises(SystemExit):
            send_update(channel_id, {})
    finally:
        pre_send_update.disconnect(leave)


def test_receiver_may_add_a_header(channel_id: str) -> None:
    """A receiver of the first signal may change the request, including its headers."""

    def change(signal: Any, request: Request, **kwargs: Any) -> None:
        request.add_header("Content-Type", "text/plain")

    pre_send_update.connect(change)
    try:
        send_update(channel_id, "plain", already_serialized=True)
    finally:
        pre_send_update.disconnect(change)
    assert received(channel_id).headers["Content-Type"] == "text/plain"


def test_an_unreachable_server_is_an_error(nobody: str) -> None:
    """The error names the URL and the remedy."""
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    error = caught.value
    assert error.url == f"http://{nobody}/send-update/news"
    assert error.status is None
    assert error.url in str(error)
    assert "PUSH_SERVER['publisher_host']" in str(error)


def test_ignore_errors_argument(nobody: str, caplog: pytest.LogCaptureFixture) -> None:
    """An ignored error is logged, and None is returned."""
    assert send_update("news", {}, ignore_errors=True) is None
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert nobody in record.getMessage()


def test_ignore_errors_setting(nobody: str) -> None:
    """PUSH_SERVER_IGNORE_ERRORS is read at each call."""
    for ignored in (True, False, True):
        with override_settings(PUSH_SERVER_IGNORE_ERRORS=ignored):
            if ignored:
                assert send_update("news", {}) is None
            else:
                with pytest.raises(PublishError):
                    send_update("news", {})


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:http", "a b", "a..b", f"{'a' * 64}.com", "http://127.0.0.1:1", "[::1"],
)
def test_invalid_host_is_an_error(host: str, settings: LazySettings) -> None:
    """An invalid host raises an error, wherever it is detected."""
    settings.PUSH_SERVER = {"publisher_host": host, "locations": LOCATIONS}
    with pytest.raises((PublishError, ImproperlyConfigured)):
        send_update("news", {})


async def test_send_update_on_an_event_loop_names_asend_update() -> None:
    """send_update on an event loop would block it; the error names asend_update."""
    with pytest.raises(SynchronousOnlyOperation, match="await asend_update") as caught:
        send_update("news", {})
    assert "event loop" in str(caught.value)


async def test_asend_update_sends_the_same(
    channel_id: str, signals: list[tuple[str, dict[str, Any]]]
) -> None:
    """asend_update sends the same and returns the same."""
    receipt = await asend_update(channel_id, {"a": "ä"})
    assert isinstance(receipt, Receipt)
    assert receipt.status == 202
    assert [name for name, _ in signals] == ["pre", "post"]
    response = await asyncio.to_thread(received, channel_id)
    assert response.json() == {"a": "ä"}


async def test_asend_update_supports_ignore_errors(nobody: str) -> None:
    """asend_update supports ignore_errors, too."""
    with pytest.raises(PublishError):
        await asend_update("news", {})
    assert await asend_update("news", {}, ignore_errors=True) is None


async def test_concurrent_updates_all_arrive(channel_id: str) -> None:
    """Concurrent updates do not disturb each other."""
    receipts = await asyncio.gather(
        *(asend_update(f"{channel_id}-{number}", number) for number in range(40))
    )
    assert [each.status for each in receipts if each] == [202] * 40
    for number in (0, 17, 39):
        response = await asyncio.to_thread(received, f"{channel_id}-{number}")
        assert response.json() == number
