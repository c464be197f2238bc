"""The URLs: ``path("push/", include("pushserver.dashboard.urls"))``."""

from __future__ import annotations

from django.urls import path

from . import actions, views

app_name = "pushserver_dashboard"

urlpatterns = [
    path("", views.overview, name="overview"),
    path("channel/", views.channel, name="channel"),
    path("wire/", views.wire, name="wire"),
    path("publish/", actions.publish, name="publish"),
    path("revoke/", actions.revoke_rights, name="revoke"),
    path("delete/", actions.delete, name="delete"),
]
