"""System checks of the limits on what clients can use."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from .conf import SubscriberLocation, get_settings
from .conf.readers import InvalidSetting


def check_proxies(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return a warning if the site is behind a proxy that the settings do not name."""
    try:
        conf = get_settings()
    except InvalidSetting:
        return []  # check_settings() reports it.
    # With these two settings a site says that it is behind a reverse proxy.
    proxied = settings.USE_X_FORWARDED_HOST or settings.SECURE_PROXY_SSL_HEADER
    trusted = conf.trusted_proxies
    if not proxied or trusted or trusted.unix or conf.max_held_per_client == 0:
        return []
    if conf.first_location(SubscriberLocation) is None:
        return []
    return [
        Warning(
            "The site is behind a proxy, and PUSH_SERVER['trusted_proxies'] names none:"
            " all clients of the proxy count as one for 'max_held_per_client', or are"
            " not limited if its address is private.",
            "Name the address of the proxy, as in 'trusted_proxies': ['127.0.0.1']. Its"
            " X-Forwarded-For is believed then.",
            id="pushserver.W017",
        )
    ]
