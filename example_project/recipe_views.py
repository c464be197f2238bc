"""The views of the recipes: their menu, their pages, and a form for a note."""

from __future__ import annotations

from django.conf import settings
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    JsonResponse,
)
from django.shortcuts import redirect, render
from django.template.loader import get_template
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from pushserver.updates import subscriber_url

from .board import visitor_name
from .recipes import RECIPES, Recipe

MAX_LENGTH = 500


def find_recipe(slug: str) -> Recipe:
    """Return a recipe, or answer 404."""
    try:
        return RECIPES[slug]
    except KeyError:
        raise Http404(f"There is no recipe {slug}.") from None


@require_safe
async def menu(request: HttpRequest) -> HttpResponse:
    """Show all recipes."""
    context = {"recipes": RECIPES.values()}
    return render(request, "example_project/recipes/menu.html", context)


@require_safe
@never_cache
async def recipe(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the page of a recipe, at the host that the push server uses."""
    shown = find_recipe(slug)
    if request.get_host() == f"localhost:{settings.PORT}":
        return redirect(f"http://{settings.HOST}{request.path}")
    # No await between the notes and their position.
    url = subscriber_url(shown.channel_id, since=shown.since)
    context = {
        "recipes": RECIPES.values(),
        "recipe": shown,
        "channel": shown.channel_id,
        "since": shown.since,
        "websocket_url": url.replace("http", "ws", 1),
        "notes": list(shown.notes),
        "name": visitor_name(request),
        "max_length": MAX_LENGTH,
        "is_elsewhere": settings.PUSH_HOST is not None,
        "sources": [
            (title, get_template(name).template.source.strip())
            for title, name in (
                ("The page", shown.page),
                ("The message", shown.fragment),
                ("A note in it", "example_project/recipes/note.html"),
            )
        ],
    }
    return render(request, shown.page, context)


@require_POST
async def add_note(request: HttpRequest, slug: str) -> HttpResponse:
    """Publish a note from a form."""
    shown = find_recipe(slug)
    text = request.POST.get("text", "").strip()
    if not 0 < len(text) <= MAX_LENGTH:
        return HttpResponseBadRequest(f"A note has from 1 to {MAX_LENGTH} characters.")
    await shown.add(visitor_name(request), text)
    if "Datastar-Request" in request.headers:
        return JsonResponse({"text": ""})  # The signal to which the field is bound.
    return HttpResponse(status=204)
