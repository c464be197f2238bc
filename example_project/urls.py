"""The URLs of the site, with the passthrough view of the push server."""

from __future__ import annotations

from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.index),
    path("state", views.state, name="state"),
    path("post", views.post, name="post"),
    path("passthrough", include("pushserver.urls")),
]
