"""Static files in development: ``updates.js`` and the site's own."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from .types import Application


def serve_static_files(application: Application) -> Application:
    """Return an application that also serves static files, as ``runserver`` does.

    Return the application unchanged if ``DEBUG`` is off, or if
    ``django.contrib.staticfiles`` or ``STATIC_URL`` is missing. In production,
    WhiteNoise or a web server serves static files.
    """
    if (
        settings.DEBUG
        and settings.STATIC_URL
        and apps.is_installed("django.contrib.staticfiles")
    ):
        handler: Application = ASGIStaticFilesHandler(application)
        return handler
    return application
