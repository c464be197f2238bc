"""Settings of a site that sends events with django-eventstream."""

from __future__ import annotations

SECRET_KEY = "benchmarks"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django_eventstream"]
ROOT_URLCONF = "benchmarks.eventstream.urls"
USE_TZ = True
