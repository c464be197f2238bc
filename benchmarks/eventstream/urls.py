"""The events of a channel, and a view that publishes."""

from __future__ import annotations

import json

import django_eventstream
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def publish(request: HttpRequest, channel: str) -> HttpResponse:
    django_eventstream.send_event(channel, "message", json.loads(request.body))
    return HttpResponse(status=202)


urlpatterns = [
    path(
        "updates/<channel>",
        include(django_eventstream.urls),
        {"format-channels": ["{channel}"]},
    ),
    path("send-update/<channel>", publish),
]
