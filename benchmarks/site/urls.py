"""A hundred pages behind the push locations, which must not slow these down."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path


def page(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(f"page {number}")


urlpatterns = [path(f"page-{i}/<int:number>", page) for i in range(100)]
