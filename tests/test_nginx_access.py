"""The nginx configurations of locations that restrict who may listen or publish."""

from __future__ import annotations

import pytest

from pushserver.nginx import ProxyConfiguration

from .nginx import PUBLISHER, SUBSCRIBER, write


@pytest.mark.parametrize(
    "option", [{"signed": True}, {"authorize": "tests.server.rules.may_listen"}]
)
@pytest.mark.parametrize("passthrough", [None, "/passthrough"])
def test_nchan_serves_no_private_channels(
    option: dict[str, object], passthrough: str | None
) -> None:
    """Where Nchan cannot ask who may listen, it refuses everybody, and says so."""
    location = {**SUBSCRIBER, **option, "passthrough": passthrough}
    text, warnings = write(locations=[PUBLISHER, location])
    assert "nchan_subscriber" not in text
    assert "return 403;" in text
    (name,) = option
    assert any(f"['{name}'] cannot be kept here" in each for each in warnings)


def test_nginx_before_the_push_server_logs_no_tokens() -> None:
    """Requests to signed URLs are not logged, and token holders reach the server."""
    subscriber = {**SUBSCRIBER, "signed": True}
    publisher = {**PUBLISHER, "signed": True}
    text, _ = write(ProxyConfiguration, locations=[publisher, subscriber])
    assert "access_log off;" in text
    assert "deny all;" not in text
    text, _ = write(ProxyConfiguration, locations=[PUBLISHER, SUBSCRIBER])
    assert "access_log off;" not in text
    assert "deny all;" in text
