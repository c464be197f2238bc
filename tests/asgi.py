"""The site of the tests, as a server runs it."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django_application = get_asgi_application()

from pushserver_channels import siblings  # noqa: E402
from pushserver_channels.routing import get_application  # noqa: E402

siblings.GRACE = float(os.environ.get("TEST_GRACE", siblings.GRACE))
application = get_application(django_application)
