from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class PushServerConfig(AppConfig):
    """Registers the system checks of the settings, and lets a doctor be answered."""

    name = "pushserver"
    verbose_name = "Push server"

    def ready(self) -> None:
        # Imported here because these need a configured Django.
        from .checks import check_settings
        from .doctor.echo import answer_doctor
        from .signals import channel_subscribe
        from .site_checks import check_site

        checks.register(check_settings, "pushserver")
        checks.register(check_site, "pushserver")
        channel_subscribe.connect(answer_doctor, dispatch_uid="pushserver.doctor")
