"""A site whose own tests use pushserver.test. Its store would be another server's."""

from __future__ import annotations

from tests.live.users import *  # noqa: F403

ROOT_URLCONF = "tests.site_tests.views"
# Whatever reaches this Redis, or this host, is a fault: nothing listens there.
PUSH_SERVER = {
    "store": {"type": "redis", "url": "redis://127.0.0.1:1/0", "max_messages": 100},
    "publisher_host": "127.0.0.1:1",
    "subscriber_host": "127.0.0.1:1",
    "locations": [
        {"type": "publisher", "url": "/send-update/([^/]+)"},
        {
            "type": "subscriber",
            "url": "/updates/([^/]+)",
            "create_on_get": True,
            "authorize": "tests.live.users.may_listen",
        },
    ],
}
