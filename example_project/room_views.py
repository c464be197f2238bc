"""The views of the rooms: their page, a form to speak, a login by one click."""

from __future__ import annotations

import logging

from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseForbidden,
)
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from pushserver.access import RevocationError, arevoke
from pushserver.updates import aposition

from .rooms import NAMES, PRIVATE, ROOMS, find_member

logger = logging.getLogger(__name__)

MAX_LENGTH = 500


@require_safe
@never_cache
async def rooms(request: HttpRequest) -> HttpResponse:
    """Show the rooms of a member, or whom a visitor can log in as."""
    name = find_member(request)
    context: dict[str, object] = {"name": name, "names": NAMES}
    if name is not None:
        shown = {**ROOMS, "private": PRIVATE[name]}
        # Before the messages are read: the page hears what is said meanwhile.
        context["since"] = await aposition([room.channel_id for room in shown.values()])
        context["rooms"] = [
            {
                "key": key,
                "room": room,
                "messages": list(room.messages) if name in room.members else [],
            }
            for key, room in shown.items()
        ]
        context["private"] = PRIVATE[name].channel_id
        context["others"] = [each for each in NAMES if each != name]
        context["max_length"] = MAX_LENGTH
    return render(request, "example_project/rooms.html", context)


@require_POST
async def say(request: HttpRequest) -> HttpResponse:
    """Publish a message in a room, or on the private channel of somebody."""
    name = find_member(request)
    to = request.POST.get("to", "")
    room = ROOMS.get(to)
    if name is None or (room is not None and name not in room.members):
        return HttpResponseForbidden("Only members may speak there.")
    room = room or PRIVATE.get(to)
    text = request.POST.get("text", "").strip()
    if room is None or not 0 < len(text) <= MAX_LENGTH:
        return HttpResponseBadRequest(
            f"A message has from 1 to {MAX_LENGTH} characters, and a room."
        )
    await room.say(name, text)
    return HttpResponse(status=204)


@require_POST
async def log_in(request: HttpRequest) -> HttpResponse:
    """Log in under one of the names, without a password."""
    name = request.POST.get("name")
    if name not in NAMES:
        return HttpResponseBadRequest("There is no such name.")
    request.session["member"] = name
    return redirect("rooms")


@require_POST
async def log_out(request: HttpRequest) -> HttpResponse:
    """Log out, and end what the member's pages hear, in all windows and browsers.

    A copy of the session's cookie would still let in: sessions in signed cookies cannot
    be ended. Sites with accounts keep sessions in the database; there
    revoke_on_logout() ends one session alone.
    """
    name = request.session.pop("member", None)
    if name is not None:
        try:
            await arevoke(user=name)
        except RevocationError as error:
            # A push server in another process, with a store in its own memory.
            logger.warning("%s", error)
    return redirect("rooms")
