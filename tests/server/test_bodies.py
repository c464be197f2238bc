from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import override_settings

from pushserver_channels.consumers.bodies import MAX_SUBSCRIBER_BODY
from pushserver_channels.exceptions import BodyTooLarge, MessageTooLarge
from pushserver_channels.routing import get_application
from pushserver_channels.server.bodies import SMALL_BODY, BodyLimits, may_be_too_long

from .exchanges import django, http_scope

PUSH_SERVER = {
    "locations": [
        {"type": "publisher", "prefix": "/large/", "max_message_size": 5_000_000},
        {"type": "publisher", "prefix": "/small/", "max_message_size": 100},
        {"type": "publisher", "prefix": "/any/", "max_message_size": 0},
        {"type": "subscriber", "prefix": "/updates/"},
    ]
}

MakeLimits = Callable[[bool], BodyLimits]


@pytest.fixture
def make_limits() -> MakeLimits:
    def make_limits(others: bool) -> BodyLimits:
        return BodyLimits(get_application(django).find_location, others=others)

    return make_limits


@pytest.mark.parametrize(
    ("method", "path", "size", "of_message"),
    [
        ("POST", "/large/a", 5_000_000, True),
        ("POST", "/large/%FF", 5_000_000, True),
        ("POST", "/small/a", 100, True),
        ("POST", "/any/a", None, True),
        ("PUT", "/large/a", 5_000_000, False),
        ("GET", "/small/a", SMALL_BODY, False),
        ("DELETE", "/any/a", SMALL_BODY, False),
        ("GET", "/updates/a", MAX_SUBSCRIBER_BODY, False),
        ("POST", "/updates/a", MAX_SUBSCRIBER_BODY, False),
    ],
)
@pytest.mark.parametrize("others", [True, False])
async def test_body_limit_depends_on_path_and_method(
    make_limits: MakeLimits,
    others: bool,
    method: str,
    path: str,
    size: int | None,
    of_message: bool,
) -> None:
    """The limit of a body depends on the path and the method of the request."""
    with override_settings(PUSH_SERVER=PUSH_SERVER):
        error = make_limits(others)(http_scope(method, path))
    if size is None:
        assert error is None
        return
    assert error is not None
    assert error.max_size == size
    assert type(error) is (MessageTooLarge if of_message else BodyTooLarge)
    assert str(size) in str(error)


@pytest.mark.parametrize(
    ("method", "length", "is_looked_up"),
    [
        (b"GET", None, True),
        (b"POST", None, True),
        (b"GET", 0, False),
        (b"GET", MAX_SUBSCRIBER_BODY, False),
        (b"GET", MAX_SUBSCRIBER_BODY + 1, True),
        (b"POST", MAX_SUBSCRIBER_BODY + 1, False),
        (b"POST", SMALL_BODY, False),
        (b"POST", SMALL_BODY + 1, True),
    ],
)
def test_small_bodies_of_posts_are_not_looked_up(
    method: bytes, length: int | None, is_looked_up: bool
) -> None:
    """A path is looked up only for a body that may be too long for it."""
    assert may_be_too_long(method, length) is is_looked_up


async def test_other_paths_have_no_body_limit(make_limits: MakeLimits) -> None:
    """Other paths than push locations have no limit if the site is served, too."""
    scope = http_scope("POST", "/upload")
    with override_settings(PUSH_SERVER=PUSH_SERVER):
        assert make_limits(True)(scope) is None
        error = make_limits(False)(scope)
    assert error is not None
    assert error.max_size == SMALL_BODY
