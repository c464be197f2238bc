from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class PushServerConfig(AppConfig):
    """Registers the system checks of the push server's settings."""

    name = "pushserver"
    verbose_name = "Push server"

    def ready(self) -> None:
        # Imported here because the checks need a configured Django.
        from .checks import check_settings

        checks.register(check_settings, "pushserver")
