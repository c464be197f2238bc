"""The ASGI application of the site: ``daphne example_project.asgi:application``."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django_application = get_asgi_application()

# This import needs Django to be set up, which get_asgi_application() has done.
from pushserver_channels.routing import get_application  # noqa: E402

application = get_application(django_application)
