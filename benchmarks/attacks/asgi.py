"""The application that is attacked."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.attacks.settings"
django_application = get_asgi_application()

from pushserver_channels.routing import get_application  # noqa: E402

application = get_application(django_application)
