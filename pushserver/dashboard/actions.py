"""What the staff can do: publish, revoke rights to listen, delete channels."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from pushserver.access import RevocationError, revoke
from pushserver.publishers import PublishError

from .access import for_staff, may_change
from .asking import delete_channel, is_presence
from .errors import DashboardError
from .pages import build_context, build_link
from .publishing import publish_text
from .records import CHANGE, DELETION, record
from .views import read_channel_id, read_store

#: Why nothing can be done on a presence channel.
RESERVED = (
    "A presence channel tells who is on another one. Only the push server publishes"
    " and deletes there, and who may listen to the other channel may listen to it."
)


@for_staff(may_change)
@require_POST
def publish(request: HttpRequest) -> HttpResponse:
    """Publish a message on a channel."""
    store = read_store(request.POST)
    channel_id = read_channel_id(request.POST)
    if is_presence(store, channel_id):
        return _refuse(request, RESERVED)
    try:
        receipt = publish_text(
            store,
            channel_id,
            request.POST.get("body", ""),
            request.POST.get("content_type", "").strip(),
            request.POST.get("event", "").strip(),
        )
    except (ValueError, PublishError) as error:
        return _refuse(request, str(error))
    record(request, "Published a message.", channel_id, CHANGE)
    if not _wants_json(request):
        return redirect(
            build_link("channel", store=store, channel=channel_id, done="published")
        )
    return JsonResponse({"delivered": receipt.delivered, "info": receipt.info})


@for_staff(may_change)
@require_http_methods(["GET", "HEAD", "POST"])
def revoke_rights(request: HttpRequest) -> HttpResponse:
    """Revoke the rights of all on a channel, or of a user, after a confirmation."""
    query = request.POST if request.method == "POST" else request.GET
    store = read_store(query)
    user = query.get("user", "").strip()
    channel_id = "" if user else read_channel_id(query)
    back = (
        build_link("overview", store=store)
        if user
        else build_link("channel", store=store, channel=channel_id)
    )
    fields = {"user": user} if user else {"channel": channel_id}
    context = build_context(request, store) | {
        "title": "Revoke rights to listen",
        "subject": user or channel_id,
        "is_user": bool(user),
        "fields": {"store": store, **fields},
        "button": "Revoke",
        "back": back,
        "consequences": [
            "What is held ends within a second, over all processes.",
            "Tokens and signed URLs from before are refused.",
            "The site's function authorize is asked again. Whom it still lets in comes"
            " back.",
        ],
    }
    if is_presence(store, channel_id):
        return _refuse(request, RESERVED, {**context, "button": ""})
    if request.method != "POST":
        return render(request, "pushserver/dashboard/confirm.html", context)
    try:
        revoke(user=user or None, channel_id=channel_id or None)
    except (RevocationError, ValueError) as error:
        return _refuse(request, str(error), context)
    if user:
        record(request, f"Revoked the rights of the user {user!r}.", "", CHANGE)
    else:
        record(request, "Revoked the rights of all who listen.", channel_id, CHANGE)
    return redirect(f"{back}{'&' if '?' in back else '?'}done=revoked")


@for_staff(may_change)
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest) -> HttpResponse:
    """Delete a channel with its messages, after a confirmation."""
    query = request.POST if request.method == "POST" else request.GET
    store = read_store(query)
    channel_id = read_channel_id(query)
    context = build_context(request, store) | {
        "title": "Delete the channel",
        "subject": channel_id,
        "fields": {"store": store, "channel": channel_id},
        "button": "Delete",
        "back": build_link("channel", store=store, channel=channel_id),
        "consequences": [
            "Its messages are gone, and cannot be restored.",
            "All who listen are told that the channel is gone; browsers do not come"
            " back by themselves.",
        ],
    }
    if is_presence(store, channel_id):
        return _refuse(request, RESERVED, {**context, "button": ""})
    if request.method != "POST":
        return render(request, "pushserver/dashboard/confirm.html", context)
    try:
        existed = delete_channel(store, channel_id)
    except DashboardError as error:
        return _refuse(request, str(error), context)
    if existed:
        record(request, "Deleted the channel.", channel_id, DELETION)
    done = "deleted" if existed else "missing"
    return redirect(build_link("overview", store=store, done=done))


def _refuse(
    request: HttpRequest, reason: str, context: dict[str, Any] | None = None
) -> HttpResponse:
    """Answer that something was not done, and why."""
    if _wants_json(request):
        return JsonResponse({"error": reason}, status=400)
    if context is None:
        context = build_context(request, read_store(request.POST)) | {
            "title": "Not published",
            "back": build_link(
                "channel",
                store=request.POST.get("store", ""),
                channel=request.POST.get("channel", ""),
            ),
        }
    context["fault"] = reason
    return render(request, "pushserver/dashboard/confirm.html", context, status=400)


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"
