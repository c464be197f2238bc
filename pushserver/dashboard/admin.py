"""The entry in Django's admin, which leads to the dashboard."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse

from .access import may_view
from .models import Dashboard


class DashboardAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Shows an entry to those who may see the dashboard, if it has a URL."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        try:
            reverse("pushserver_dashboard:overview")
        except NoReverseMatch:
            return False
        return may_view(request.user)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the dashboard."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return redirect("pushserver_dashboard:overview")


# The module may be imported without the admin, by what imports all modules.
if apps.is_installed("django.contrib.admin"):
    admin.site.register(Dashboard, DashboardAdmin)
