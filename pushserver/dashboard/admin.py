"""The entry in Django's admin, which leads to the dashboard."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, URLPattern, path, reverse

from .access import may_view
from .models import Dashboard
from .pages import build_link


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

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of what leads to the dashboard: other pages need a table."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        protect = self.admin_site.admin_view
        return [
            path("", protect(self.changelist_view), name=f"{name}_changelist"),
            path(
                "<path:object_id>/change/",
                protect(self.change_view),
                name=f"{name}_change",
            ),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the dashboard."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return redirect("pushserver_dashboard:overview")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Lead to the channel of an entry in the admin's log."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return redirect(build_link("channel", channel=unquote(object_id)))


# The module may be imported without the admin, by what imports all modules.
if apps.is_installed("django.contrib.admin"):
    admin.site.register(Dashboard, DashboardAdmin)
