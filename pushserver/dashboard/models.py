"""The permissions of the dashboard, and its entry in Django's admin."""

from __future__ import annotations

from django.db import models


class Dashboard(models.Model):
    """No table: ``migrate`` makes its permissions, and the admin links to it."""

    class Meta:
        app_label = "pushserver_dashboard"
        managed = False
        default_permissions = ()
        permissions = [
            ("view_dashboard", "Can see all channels and their messages"),
            ("change_dashboard", "Can publish, revoke rights and delete channels"),
        ]
        verbose_name = "dashboard"
        verbose_name_plural = "dashboard"
