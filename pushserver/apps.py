from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class PushServerConfig(AppConfig):
    """Registers the system checks, hides passwords, and connects the doctor's echo."""

    name = "pushserver"
    verbose_name = "Push server"

    def ready(self) -> None:
        # Imported here because these need a configured Django.
        from .access_checks import check_access, check_open_locations
        from .checks import check_passwords, check_publisher, check_settings
        from .doctor.echo import answer_doctor
        from .limit_checks import check_proxies
        from .passwords import hide_passwords
        from .signals import channel_subscribe
        from .site_checks import check_site
        from .template_checks import check_templates

        hide_passwords()
        checks.register(check_settings, "pushserver")
        checks.register(check_access, "pushserver")
        checks.register(check_site, "pushserver")
        checks.register(check_templates, "pushserver")
        checks.register(check_passwords, "pushserver", deploy=True)
        checks.register(check_open_locations, "pushserver", deploy=True)
        checks.register(check_proxies, "pushserver", deploy=True)
        checks.register(check_publisher, "pushserver", deploy=True)
        channel_subscribe.connect(answer_doctor, dispatch_uid="pushserver.doctor")
