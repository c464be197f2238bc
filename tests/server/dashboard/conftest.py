from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings

from tests.server.access.subscribing import Serving
from tests.server.streams import serving


@pytest.fixture(autouse=True)
def dashboard() -> Iterator[None]:
    """Serve the dashboard beside the push server."""
    with override_settings(
        INSTALLED_APPS=[*settings.INSTALLED_APPS, "pushserver.dashboard"],
        MIDDLEWARE=[
            *settings.MIDDLEWARE,
            "django.middleware.csrf.CsrfViewMiddleware",
            "tests.server.dashboard.site.add_user",
        ],
        ROOT_URLCONF="tests.server.dashboard.site",
    ):
        yield


@pytest.fixture
def serve(dashboard: None) -> Iterator[Serving]:
    """Return a function that serves both kinds of locations with given options."""
    with serving(timeout=5, keep_alive=0) as serve:
        yield serve
