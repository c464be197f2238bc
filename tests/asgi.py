"""The site of the tests, as a server runs it."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django_application = get_asgi_application()

from pushserver_channels import address_claims  # noqa: E402
from pushserver_channels.routing import get_application  # noqa: E402
from pushserver_channels.stores import layer  # noqa: E402

address_claims.GRACE_PERIOD = float(
    os.environ.get("TEST_GRACE", address_claims.GRACE_PERIOD)
)
layer.TRANSIT_TIME = float(os.environ.get("TEST_TRANSIT_TIME", layer.TRANSIT_TIME))
application = get_application(django_application)
