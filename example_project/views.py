"""The views of the board: its page, its state, and a form to post."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from .board import board, visitor_name

MAX_LENGTH = 500


@require_safe
async def index(request: HttpRequest) -> HttpResponse:
    """Show the board, at the host that the push server uses, so that cookies match."""
    if request.get_host() == f"localhost:{settings.PORT}":
        return redirect(f"http://{settings.HOST}/")
    context = {
        "state": board.state(),
        "name": visitor_name(request),
        "max_length": MAX_LENGTH,
    }
    return render(request, "example_project/board.html", context)


@require_safe
async def state(request: HttpRequest) -> JsonResponse:
    """Return the board's state, for a page that has missed messages."""
    return JsonResponse(board.state())


@require_POST
async def post(request: HttpRequest) -> HttpResponse:
    """Add a post from a form."""
    text = request.POST.get("text", "").strip()
    if not 0 < len(text) <= MAX_LENGTH:
        return HttpResponseBadRequest(f"A post has from 1 to {MAX_LENGTH} characters.")
    await board.post(visitor_name(request), text)
    return HttpResponse(status=204)
