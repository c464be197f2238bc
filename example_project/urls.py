from __future__ import annotations

from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.index),
    path("passthrough", include("pushserver.urls")),
]
