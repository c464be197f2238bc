"""Static files in development: ``updates.js`` and the site's own."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from .types import Application


def serve_static_files(application: Application) -> Application:
    """Return an application that serves static files, too, as ``runserver`` does.

    Only under ``DEBUG``, and where ``django.contrib.staticfiles`` is installed with a
    ``STATIC_URL``; otherwise it is the application itself. In production static files
    are served by WhiteNoise or by a web server.
    """
    if (
        settings.DEBUG
        and settings.STATIC_URL
        and apps.is_installed("django.contrib.staticfiles")
    ):
        handler: Application = ASGIStaticFilesHandler(application)
        return handler
    return application
