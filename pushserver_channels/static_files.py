"""Static files in development and in tests: ``updates.js`` and the site's own."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from .types import Application


def serve_static_files(application: Application) -> Application:
    """Return an application that also serves static files, as ``runserver`` does.

    Return the application unchanged if ``DEBUG`` is off. In production, WhiteNoise or a
    web server serves static files.
    """
    return add_static_files(application) if settings.DEBUG else application


def add_static_files(application: Application) -> Application:
    """Return an application that also serves static files.

    Return the application unchanged if ``django.contrib.staticfiles`` or ``STATIC_URL``
    is missing.
    """
    if not (settings.STATIC_URL and apps.is_installed("django.contrib.staticfiles")):
        return application
    # It wraps any ASGI application, not only Django's own.
    handler: Any = ASGIStaticFilesHandler
    wrapped: Application = handler(application)
    return wrapped
