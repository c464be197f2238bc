from __future__ import annotations

from django.http import HttpRequest, HttpResponse


def index(request: HttpRequest) -> HttpResponse:
    """Say what to try."""
    return HttpResponse("See the README.", content_type="text/plain")
