"""The passthrough view: ``path("passthrough", include("pushserver.urls"))``."""

from __future__ import annotations

from django.urls import re_path

from .views import passthrough

# With and without a slash, so that it may be included at "passthrough" and at
# "passthrough/" whatever the setting says.
urlpatterns = [re_path(r"^(?:/)?$", passthrough, name="pushserver-passthrough")]
