"""What the templates of the pages get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest
from django.urls import reverse

from pushserver.conf import get_settings

from .access import may_change
from .asking import SORTS
from .shown import show_age, show_rate, show_size, show_time
from .transports import Transport

#: What the columns of the list are called, by how they are sorted.
COLUMNS = {
    "id": "Channel",
    "held": "Clients",
    "messages": "Messages",
    "rate": "Rate",
    "newest": "Last message",
}

#: What the limits are called, as in ``pushserver_limits_total``.
LIMITS = {
    "max_held": "clients, the process is full",
    "max_held_per_client": "clients, of one address",
    "max_channels": "channels",
    "max_empty_channels": "channels without messages",
    "max_bytes": "messages, the memory is full",
    "passthrough": "passthrough requests",
    "presence_signals": "presence signals",
}


def build_link(name: str, **query: Any) -> str:
    """Return the URL of a page of the dashboard, with a query."""
    url = reverse(f"pushserver_dashboard:{name}")
    query = {key: each for key, each in query.items() if each not in ("", None)}
    return f"{url}?{urlencode(query)}" if query else url


def build_context(request: HttpRequest, store: str) -> dict[str, Any]:
    """Return what all pages get.

    Args:
        request: The request.
        store: The name of the store that is shown.
    """
    stores = get_settings().used_stores
    return {
        "store": store,
        "stores": [
            {"name": each, "url": build_link("overview", store=each)} for each in stores
        ],
        "home": build_link("overview", store=store if len(stores) > 1 else ""),
        "may_change": may_change(request.user),
    }


def show_processes(processes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the table of processes."""
    return [
        {
            **each,
            "polls": each["held"].get("poll", 0),
            "streams": each["held"].get("eventsource", 0),
            "sockets": each["held"].get("websocket", 0),
            "limits": _show_limits(each["limits"]),
        }
        for each in processes
    ]


def sum_up(processes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of all processes together."""
    total: Counter[str] = Counter()
    limits: Counter[str] = Counter()
    for each in processes:
        total["processes"] += 1
        total["ready"] += each["is_answering"] and not each["faults"]
        if each["is_answering"]:  # As in the list of channels.
            total["held"] += sum(each["held"].values())
        for name in ("published", "delivered", "gaps"):
            total[name] += each[name]
        limits.update(each["limits"])
    return {**dict(total), "limits": _show_limits(limits), "limited": limits.total()}


def show_channels(
    channels: Iterable[Mapping[str, Any]], store: str
) -> list[dict[str, Any]]:
    """Return the rows of the list of channels."""
    return [
        {
            **show_channel(each),
            "url": build_link("channel", store=store, channel=each["id"]),
        }
        for each in channels
    ]


def show_channel(channel: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a channel."""
    return {
        **channel,
        "rate": show_rate(channel["per_minute"]),
        "age": show_age(channel["age"]),
    }


def show_entries(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages of a channel."""
    return [
        {**each, "size": show_size(each["size"]), "at": show_time(each["time"])}
        for each in entries
    ]


def show_transports(transports: Iterable[Transport], host: str) -> list[dict[str, Any]]:
    """Return the ways to listen; of URLs at the page's own host, the path alone."""
    found = []
    for each in transports:
        parts = urlsplit(each.url)
        url = parts.path if parts.netloc == host else each.url
        found.append({**each._asdict(), "url": url})
    return found


def build_columns(store: str, search: str, sort: str) -> list[dict[str, Any]]:
    """Return the columns of the list of channels, with the links that sort it."""
    return [
        {
            "key": key,
            "name": name,
            "is_sorted": key == sort,
            "url": build_link("overview", store=store, q=search, sort=key),
        }
        for key, name in COLUMNS.items()
        if key in SORTS
    ]


def build_pager(
    found: Mapping[str, Any], store: str, search: str, sort: str
) -> dict[str, Any]:
    """Return the links to the pages before and after."""
    page, pages = found["page"], found["pages"]

    def link(to: int) -> str | None:
        if not 1 <= to <= pages or to == page:
            return None
        return build_link("overview", store=store, q=search, sort=sort, page=to)

    return {
        "page": page,
        "pages": pages,
        "previous": link(page - 1),
        "next": link(page + 1),
        "is_cut": found["total"] > found["max_ranked"],
    }


def _show_limits(limits: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {"name": LIMITS.get(name, name), "setting": name, "count": count}
        for name, count in sorted(limits.items())
        if count
    ]
