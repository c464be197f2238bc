"""The pages of the dashboard that show something."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from pushserver.conf import get_settings

from .access import for_staff, may_view
from .asking import (
    SORTS,
    can_revoke,
    find_channel,
    find_members,
    find_overview,
    is_presence,
)
from .errors import DashboardError
from .pages import (
    build_columns,
    build_context,
    build_link,
    build_pager,
    show_channel,
    show_channels,
    show_entries,
    show_processes,
    show_transports,
    sum_up,
)
from .transports import find_url, list_transports

#: The most characters of a search.
MAX_SEARCH = 512

#: What a page says after something was done, by the query that it was loaded with.
DONE = {
    "published": "The message was published.",
    "revoked": "The rights were revoked.",
    "deleted": "The channel was deleted.",
    "missing": "There was no such channel.",
}


def read_store(query: Any) -> str:
    """Return the name of the store in a query, by default the first one."""
    stores = get_settings().used_stores
    name = query.get("store") or (stores[0] if stores else "")
    if name not in stores:
        raise Http404("There is no such store.")
    return str(name)


def read_channel_id(query: Any) -> str:
    """Return the channel in a query."""
    channel_id = query.get("channel", "")
    if not channel_id or "\ufffd" in channel_id:
        raise Http404("There is no such channel.")
    return str(channel_id)


@for_staff(may_view)
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Show the processes, and the channels."""
    store = read_store(request.GET)
    search = request.GET.get("q", "").strip()[:MAX_SEARCH]
    sort = request.GET.get("sort", "")
    sort = sort if sort in SORTS else SORTS[0]
    page = request.GET.get("page", "")
    number = int(page) if page.isdecimal() and len(page) < 5 else 1
    context = build_context(request, store) | {
        "search": search,
        "sort": sort,
        "can_revoke": can_revoke(),
        "done": DONE.get(request.GET.get("done", "")),
        "columns": build_columns(store, search, sort),
    }
    try:
        found = find_overview(store, search, sort, number)
    except DashboardError as error:
        return _render_fault(request, "overview", context, error)
    context |= {
        "found": found,
        "processes": show_processes(found["processes"]),
        "sums": sum_up(found["processes"]),
        "channels": show_channels(found["channels"], store),
        "pager": build_pager(found, store, search, sort),
    }
    return render(request, "pushserver/dashboard/overview.html", context)


@for_staff(may_view)
@require_safe
def channel(request: HttpRequest) -> HttpResponse:
    """Show one channel: its messages, who is there, and the wire."""
    store = read_store(request.GET)
    channel_id = read_channel_id(request.GET)
    context = build_context(request, store) | {
        "channel_id": channel_id,
        "transports": show_transports(
            list_transports(store, channel_id), request.get_host()
        ),
        "can_revoke": can_revoke(),
        "done": DONE.get(request.GET.get("done", "")),
        "revoke_url": build_link("revoke", store=store, channel=channel_id),
        "delete_url": build_link("delete", store=store, channel=channel_id),
    }
    if is_presence(store, channel_id):
        context["may_change"] = False
    try:
        found = find_channel(store, channel_id)
        members = find_members(store, channel_id)
    except DashboardError as error:
        return _render_fault(request, "channel", context, error)
    if members is not None and context["can_revoke"]:
        members["users"] = [
            {"key": each, "revoke_url": build_link("revoke", store=store, user=each)}
            for each in members["users"]
        ]
    elif members is not None:
        members["users"] = [{"key": each} for each in members["users"]]
    context |= {
        "found": show_channel(found),
        "entries": show_entries(found["entries"]),
        "members": members,
    }
    return render(request, "pushserver/dashboard/channel.html", context)


@for_staff(may_view)
@require_safe
def wire(request: HttpRequest) -> HttpResponse:
    """Answer with the URL at which the page listens to a channel."""
    store = read_store(request.GET)
    channel_id = read_channel_id(request.GET)
    url = find_url(store, channel_id, request.GET.get("location", ""))
    if url is None:
        raise Http404("There is no such location.")
    return JsonResponse({"url": url})


def _render_fault(
    request: HttpRequest, page: str, context: dict[str, Any], error: DashboardError
) -> HttpResponse:
    """Show why there is nothing to show; the page goes on trying."""
    # 200, because Django logs each 503, and the page loads itself every two seconds.
    context["fault"] = str(error)
    return render(request, f"pushserver/dashboard/{page}.html", context)
