"""The doctor on sites that restrict who may listen."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from pushserver.conf import read_settings
from pushserver.doctor.locations import find_locations, find_stream_locations

from .doctor import examine
from .servers import daphne

PUBLISHER = {"type": "publisher", "url": "/send-update/([^/]+)"}
SUBSCRIBER = {
    "type": "subscriber",
    "url": "/updates/([^/]+)",
    "create_on_get": True,
    "timeout": 1,
    "keep_alive": 1,
}
RULE = "tests.server.rules.may_listen"


def conf(store: str = "default", **options: Any) -> dict[str, Any]:
    return {
        "store": {store: {"type": "memory", "message_timeout": 60}},
        "locations": [
            {**PUBLISHER, "store": store},
            {**SUBSCRIBER, "store": store, **options},
        ],
    }


@pytest.mark.process
@pytest.mark.parametrize(
    ("served", "known", "found"),
    [
        (conf(signed=True), conf(signed=True), ["ok    receiving", "ok    stream:"]),
        (
            conf(authorize=RULE),
            conf(authorize=RULE),
            ["?     receiving: The subscriber location asks 'authorize'"],
        ),
        (
            conf("other", signed=True),
            conf(signed=True),
            ["WRONG receiving", "401, although it has a token", "SECRET_KEY"],
        ),
    ],
)
def test_what_a_doctor_finds(
    served: dict[str, Any], known: dict[str, Any], found: list[str]
) -> None:
    """It has tokens, and says where it is not let in."""
    with daphne(served) as server:
        address = f"127.0.0.1:{server.port}"
        said = examine(server.url, {**known, "publisher_host": address}).stdout
    for each in found:
        assert each in said
    assert ("WRONG" in said) == ("WRONG receiving" in found)
    assert "Let the proxy pass" not in said


def test_the_locations_to_which_a_doctor_listens() -> None:
    """One that lets it in comes first."""
    asking = {**SUBSCRIBER, "authorize": RULE}
    signed = {**SUBSCRIBER, "url": "/signed/(.+)", "signed": True, "authorize": RULE}
    settings = read_settings({"locations": [PUBLISHER, asking, signed]})
    publisher, subscriber = find_locations(settings)
    assert subscriber is settings.locations[2]
    streams = find_stream_locations(settings, publisher)
    assert set(streams.values()) == {subscriber}
    settings = read_settings({"locations": [PUBLISHER, asking]})
    publisher, subscriber = find_locations(settings)
    assert subscriber is settings.locations[1]
    assert find_stream_locations(settings, publisher) == {}


def test_our_urls_cause_no_warning() -> None:
    """A site that includes them at "passthrough" sees no findings of Django's."""
    assert run_checks(tags=["urls"]) == []
