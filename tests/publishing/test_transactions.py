"""The argument ``on_commit``: updates that wait for the commit of a transaction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import LazySettings
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.test import Client, TestCase, override_settings
from django.urls import path

from pushserver.publishers import PublishError
from pushserver.signals import post_send_update, pre_send_update
from pushserver.updates import asend_update, send_update
from tests.servers import free_port

from .small_server import SmallServer, publish_to

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "archive"])


class Rollback(Exception):
    """Rolls back a transaction."""


def failing(request: HttpRequest) -> HttpResponse:
    """Send an update, and fail."""
    send_update("news", "failed")
    raise Rollback


def working(request: HttpRequest) -> HttpResponse:
    """Send two updates, of which the client is to see nothing before the answer."""
    assert send_update("news", 1) is None
    assert send_update("news", 2) is None
    return HttpResponse()


urlpatterns = [path("failing/", failing), path("working/", working)]


@pytest.fixture(autouse=True)
def site(small: SmallServer, settings: LazySettings) -> None:
    """A site whose updates wait for commits."""
    publish_to(small.host, settings, on_commit=True)


def sent(small: SmallServer) -> list[Any]:
    """Return the data that were published, in order."""
    return [json.loads(body) for _, _, body in small.requests]


def test_update_goes_out_after_the_commit(small: SmallServer) -> None:
    """In an atomic block the call returns None, and the update follows the commit."""
    with transaction.atomic():
        assert send_update("news", 1) is None
        with transaction.atomic():
            assert send_update("other", 2) is None
        assert send_update("news", 3) is None
        assert sent(small) == []
    assert sent(small) == [1, 2, 3]


def test_update_goes_out_at_once_outside_of_a_transaction(small: SmallServer) -> None:
    """Outside of an atomic block the update is sent at once, with a receipt."""
    receipt = send_update("news", 1)
    assert receipt is not None
    assert receipt.status == 202
    assert sent(small) == [1]


def test_nothing_goes_out_after_a_rollback(small: SmallServer) -> None:
    """After a rollback the update is not sent."""
    with pytest.raises(Rollback), transaction.atomic():
        send_update("news", 1)
        raise Rollback
    with transaction.atomic():
        send_update("news", 2)
        transaction.set_rollback(True)
    assert sent(small) == []


def test_savepoint(small: SmallServer) -> None:
    """Only the updates of a savepoint that is rolled back are not sent."""
    with transaction.atomic():
        send_update("news", 1)
        with pytest.raises(Rollback), transaction.atomic():
            send_update("news", 2)
            with transaction.atomic():
                send_update("news", 3)
            raise Rollback
        send_update("news", 4)
        with transaction.atomic(savepoint=False):
            send_update("news", 5)
    assert sent(small) == [1, 4, 5]


def test_durable_block(small: SmallServer) -> None:
    """A durable block is a transaction as any other."""
    with transaction.atomic(durable=True):
        send_update("news", 1)
        assert sent(small) == []
    assert sent(small) == [1]


def test_database_that_has_to_commit(small: SmallServer) -> None:
    """``using`` names the database whose transaction counts."""
    with transaction.atomic(using="archive"):
        assert send_update("news", 1)
        assert send_update("news", 2, using="archive") is None
        with pytest.raises(Rollback), transaction.atomic():
            send_update("news", 3)
            assert send_update("news", 4, using="archive") is None
            raise Rollback
        assert sent(small) == [1]
    assert sent(small) == [1, 2, 4]


@pytest.mark.parametrize(
    ("default", "on_commit", "waits"),
    [
        (False, None, False),
        (True, None, True),
        (True, False, False),
        (False, True, True),
    ],
)
def test_argument_and_setting(
    default: bool,
    on_commit: bool | None,
    waits: bool,
    small: SmallServer,
    settings: LazySettings,
) -> None:
    """The argument overrides the setting, whose default is False."""
    publish_to(small.host, settings, **({"on_commit": True} if default else {}))
    with transaction.atomic():
        receipt = send_update("news", 1, on_commit=on_commit)
        assert (receipt is None, sent(small)) == (waits, [] if waits else [1])
    assert sent(small) == [1]


@pytest.mark.parametrize(
    ("using", "sentence"),
    [
        ("archiv", "using is 'archiv', which is not in DATABASES. Did you mean 'arch"),
        (
            "x",
            "using is 'x', which is not in DATABASES. There are 'default', 'archive'",
        ),
    ],
)
@pytest.mark.parametrize("on_commit", [False, True])
def test_unknown_database_is_an_error(
    using: str, sentence: str, on_commit: bool, small: SmallServer
) -> None:
    """An alias that no database has is an error, and nothing is sent."""
    for send in (send_update, async_to_sync(asend_update)):
        with pytest.raises(ValueError) as caught:
            send("news", 1, using=using, on_commit=on_commit)
        assert str(caught.value).startswith(sentence)
    assert sent(small) == []


def test_data_are_those_of_the_call(small: SmallServer) -> None:
    """Data are serialized by the call: later changes of them are not published."""
    heard = []

    def hear(data: Any, **others: Any) -> None:
        heard.append(data)

    data = {"items": [1]}
    with transaction.atomic():
        send_update("news", data)
        data["items"].append(2)
        with pytest.raises(TypeError, match=r"data\['a'\] is a set"):
            send_update("news", {"a": {1}})
        with pytest.raises(ValueError, match="channel id"):
            send_update("", 1)
    post_send_update.connect(hear)
    try:
        with transaction.atomic():
            send_update("news", data)
            send_update("news", memoryview(b"[]"), already_serialized=True)
            data["items"].append(3)
    finally:
        post_send_update.disconnect(hear)
    assert sent(small) == [{"items": [1]}, {"items": [1, 2]}, []]
    assert heard[0] == {"items": [1, 2]}


def test_signals_are_sent_after_the_commit(small: SmallServer) -> None:
    """Receivers hear of an update when it is published, and not after a rollback."""
    heard: list[object] = []

    def hear(data: Any, **others: Any) -> None:
        heard.append(data)

    pre_send_update.connect(hear)
    try:
        with transaction.atomic():
            send_update("news", 1)
            assert heard == []
        with pytest.raises(Rollback), transaction.atomic():
            send_update("news", 2)
            raise Rollback
    finally:
        pre_send_update.disconnect(hear)
    assert heard == [1]


def test_ignored_error_stops_no_other_callback(settings: LazySettings) -> None:
    """With ignore_errors, what follows in the transaction's callbacks goes on."""
    publish_to(f"127.0.0.1:{free_port()}", settings, on_commit=True)
    done = []
    with transaction.atomic():
        send_update("news", 1, ignore_errors=True)
        transaction.on_commit(lambda: done.append("after"))
    assert done == ["after"]
    with override_settings(PUSH_SERVER_IGNORE_ERRORS=True), transaction.atomic():
        send_update("news", 1)
        transaction.on_commit(lambda: done.append("again"))
    assert done == ["after", "again"]


def test_error_is_raised_after_the_commit(settings: LazySettings) -> None:
    """Otherwise the end of the block raises the error, but the data are committed."""
    publish_to(f"127.0.0.1:{free_port()}", settings, on_commit=True)
    done = []
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE story (title TEXT)")
        try:
            with pytest.raises(PublishError), transaction.atomic():
                cursor.execute("INSERT INTO story VALUES ('kept')")
                send_update("news", 1)
                transaction.on_commit(lambda: done.append("not called"))
            cursor.execute("SELECT title FROM story")
            assert cursor.fetchall() == [("kept",)]
        finally:
            cursor.execute("DROP TABLE story")
    assert done == []


def test_transaction_that_is_not_atomic_is_an_error(small: SmallServer) -> None:
    """Without autocommit, Django cannot tell of the commit, and says so."""
    connection.ensure_connection()
    transaction.set_autocommit(False)
    try:
        with pytest.raises(transaction.TransactionManagementError, match="on_commit"):
            send_update("news", 1)
        assert send_update("news", 2, on_commit=False)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert sent(small) == [2]


def test_atomic_requests(
    small: SmallServer, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ATOMIC_REQUESTS, updates of a view follow its commit."""
    settings.ROOT_URLCONF = __name__
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    client = Client(raise_request_exception=False)
    assert client.get("/failing/").status_code == 500
    assert sent(small) == []
    assert client.get("/working/").status_code == 200
    assert sent(small) == [1, 2]


async def test_async_code_sends_at_once(small: SmallServer) -> None:
    """asend_update does not wait; send_update in sync_to_async does."""

    @sync_to_async
    def change() -> int:
        with transaction.atomic():
            assert send_update("news", 1) is None
            waiting = len(sent(small))
            assert async_to_sync(asend_update)("news", 2, on_commit=True)
        # Django leaves the connection of a database in memory open.
        BaseDatabaseWrapper.close(connection)
        return waiting

    assert await change() == 0
    assert await asend_update("news", 3, on_commit=True)
    assert sent(small) == [2, 1, 3]


class CaptureTests(TestCase):
    """Tests of a site, which are transactions that are rolled back."""

    def test_captured_callbacks(self) -> None:
        """In a TestCase updates are sent where its callbacks are executed."""
        heard: list[object] = []

        def hear(data: Any, **others: Any) -> None:
            heard.append(data)

        pre_send_update.connect(hear)
        self.addCleanup(pre_send_update.disconnect, hear)
        send_update("news", 0, on_commit=True)
        with self.captureOnCommitCallbacks() as callbacks:
            assert send_update("news", 1, on_commit=True) is None
        assert len(callbacks) == 1
        assert heard == []
        with self.captureOnCommitCallbacks(execute=True):
            send_update("news", 2, on_commit=True)
        assert heard == [2]
