"""The tests of the site, as Django runs them: ``manage.py test``."""

from __future__ import annotations

import threading
import urllib.request
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import SimpleTestCase, TestCase, override_settings

from pushserver.access import revoke
from pushserver.test import (
    PushLiveServerMixin,
    assertNothingPushed,
    assertPushed,
    captureUpdates,
    sent_updates,
)
from pushserver.updates import position, send_update, send_updates


class SentUpdatesTest(SimpleTestCase):
    """Each test begins without messages, and finds those that it published."""

    def test_first(self) -> None:
        assertNothingPushed()
        send_update("news", {"at": datetime(2026, 1, 1, tzinfo=timezone.utc)})
        assertPushed("news", {"at": datetime(2026, 1, 1, tzinfo=timezone.utc)})
        assertPushed("news", {"at": "2026-01-01T00:00:00Z"}, count=1)
        assert len(sent_updates) == 1

    def test_second(self) -> None:
        assertNothingPushed()
        for price in ("1.5", "2.5"):
            receipt = send_update("news", {"price": Decimal(price)}, event="price")
            assert receipt is not None and receipt.status == 202
        assert [each.data for each in sent_updates] == [
            {"price": "1.5"},
            {"price": "2.5"},
        ]
        [first] = assertPushed("news", {"price": "1.5"}, event="price", count=1)
        assert first.event == "price"
        assertPushed("news", count=2)
        assertNothingPushed("other")
        assert position(["news"]) == {"news": receipt.info["last_message_id"]}

    def test_options_are_recorded(self) -> None:
        """An update has its options, and a repeated one is recorded once."""
        first = send_update("a", 1, expires=5, keep=False, idempotency_key="once")
        assert send_update("a", 2, idempotency_key="once") == first
        receipts = send_updates([("a", 3), ("b", 4)], event="story")
        assert receipts is not None and len(receipts) == 2
        sent = [
            (each.data, each.expires, each.keep, each.event) for each in sent_updates
        ]
        assert sent == [
            (1, 5, False, None),
            (3, None, True, "story"),
            (4, None, True, "story"),
        ]

    def test_failures_say_what_was_published(self) -> None:
        send_update("news", b"\xff", already_serialized=True, content_type="image/gif")
        with self.assertRaisesRegex(AssertionError, r"(?s)'sport'.*'news': b'\\xff'"):
            assertPushed("sport")
        with self.assertRaisesRegex(AssertionError, r"2 messages on 'news'.* 1 of"):
            assertPushed("news", count=2)
        with self.assertRaisesRegex(AssertionError, "this was:.*\n.*'news'"):
            assertNothingPushed()
        over_http = override_settings(PUSH_SERVER={"publisher": "http"})
        with over_http, self.assertRaisesRegex(AssertionError, "is 'http'. Use 'auto'"):
            assertPushed("news", count=5)

    def test_revocations_reach_no_server(self) -> None:
        revoke(user="7")


class TransactionsTest(TestCase):
    def test_captured_updates(self) -> None:
        """Callbacks of the transaction run at the end of the context."""
        with captureUpdates() as updates:
            self.client.get("/groups/one")
            assertNothingPushed()
        assert [each.data for each in updates] == [{"name": "one"}]
        assertPushed("groups", {"name": "one"}, count=1)
        self.client.get("/groups/two")
        assert len(updates) == len(sent_updates) == 1

    def test_updates_that_wait_for_the_commit(self) -> None:
        with captureUpdates() as updates:
            assert send_update("a", 1, on_commit=True) is None
            assertNothingPushed()
        assert len(updates) == 1


class Live(PushLiveServerMixin, StaticLiveServerTestCase):
    def open(self, path: str, **headers: str) -> Any:
        request = urllib.request.Request(self.live_server_url + path, headers=headers)
        return urllib.request.urlopen(request, timeout=20)

    def log_in(self) -> str:
        with self.open("/login/anna") as answer:
            cookies = answer.headers.get_all("Set-Cookie")
        return "; ".join(each.partition(";")[0] for each in cookies)

    def test_waiting_pages(self) -> None:
        """A page that waits gets what a view or the test publishes."""
        cookie = self.log_in()
        answers = []

        def wait(last: str) -> None:
            path = f"/updates/anna?last_event_id={last}"
            with self.open(path, Cookie=cookie) as answer:
                answers.append((answer.read(), answer.headers["Content-Type"]))

        waiting = threading.Thread(target=wait, args=["newest"])
        waiting.start()
        text = ""
        while not text.startswith("201"):  # Until the request is held.
            text = self.open("/say/anna").read().decode()
        assert text == "201 /updates/anna", text
        waiting.join()
        assert answers == [(b"<b>hi</b>", "text/html")]
        assertPushed("anna", "<b>hi</b>")
        last = position(["anna"])["anna"]
        assert last is not None
        send_update("anna", [1])
        wait(last)
        assert answers[1][0] == b"[1]"

    def test_database_in_memory(self) -> None:
        """The site and the test see the same rows."""
        Group.objects.create(name="made by the test")
        assert self.open("/count").read() == b"1"
        self.open("/groups/one")
        assert Group.objects.count() == 2
        assertPushed("groups", {"name": "one"}, count=1)

    def test_script_is_served(self) -> None:
        with self.open("/static/pushserver/updates.js") as answer:
            assert b"updates" in answer.read()

    def test_strangers(self) -> None:
        """Access is decided as in production."""
        with self.assertRaisesRegex(OSError, "403"):
            self.open("/updates/anna")


class LiveAgain(Live):
    """A second server in the process begins without the messages of the first."""

    def test_messages_of_the_first_server(self) -> None:
        assert position(["anna"]) == {"anna": "0:0"}
