"""The URLs of the site, with the passthrough view of the push server."""

from __future__ import annotations

from django.urls import include, path

from . import operators, recipe_views, room_views, views

urlpatterns = [
    path("", views.index),
    path("state", views.state, name="state"),
    path("post", views.post, name="post"),
    path("rooms", room_views.rooms, name="rooms"),
    path("rooms/say", room_views.say, name="say"),
    path("login", room_views.log_in, name="login"),
    path("logout", room_views.log_out, name="logout"),
    path("recipes", recipe_views.menu, name="recipes"),
    path("recipes/<slug:slug>", recipe_views.recipe, name="recipe"),
    path("recipes/<slug:slug>/notes", recipe_views.add_note, name="add-note"),
    path("operator", operators.log_in, name="operator"),
    path("push/", include("pushserver.dashboard.urls")),
    path("passthrough", include("pushserver.urls")),
]
