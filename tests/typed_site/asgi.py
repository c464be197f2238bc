"""The ASGI application."""

from __future__ import annotations

from channels.routing import URLRouter
from django.core.asgi import get_asgi_application

from pushserver_channels.routing import get_application, urlpatterns

application = get_application(get_asgi_application())
router = URLRouter(urlpatterns)
