from __future__ import annotations

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """The dashboard: ``"pushserver.dashboard"`` in ``INSTALLED_APPS``."""

    name = "pushserver.dashboard"
    label = "pushserver_dashboard"
    verbose_name = "Push server"
    default_auto_field = "django.db.models.BigAutoField"
