"""The tests of the site."""

from __future__ import annotations

from django.test import LiveServerTestCase, TestCase

from pushserver.test import (
    PushLiveServerMixin,
    SentUpdate,
    assertNothingPushed,
    assertPushed,
    captureUpdates,
    sent_updates,
)


class UpdatesTest(TestCase):
    def test_updates(self) -> None:
        assertNothingPushed()
        with captureUpdates() as updates:
            self.client.get("/")
        first: SentUpdate = updates[0]
        assertPushed(first.channel_id, first.data, event=None, count=1)
        assert len(sent_updates) == 1


class PageTest(PushLiveServerMixin, LiveServerTestCase):
    def test_page(self) -> None:
        url: str = self.live_server_url
        print(url)
