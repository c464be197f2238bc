"""The site of the tests: the passthrough view, and views that publish and report."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from collections import deque

from django.contrib.staticfiles.views import serve
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path, reverse

from pushserver.signals import channel_subscribe, channel_unsubscribe
from pushserver.updates import asend_update, send_update, subscriber_url

from .exits import fail_at

#: The passthrough signals, oldest first.
heard: deque[dict[str, object]] = deque()

#: A file for the signals, too, to be read after the server has ended.
LOG = os.environ.get("TEST_PASSTHROUGH_LOG")


def hear(event: str, request: HttpRequest, channel_id: str) -> None:
    if "X-Slow" in request.headers:
        time.sleep(float(request.headers["X-Slow"]))
    told = {
        "event": event,
        "channel_id": channel_id,
        "cookies": request.COOKIES,
        "if_modified_since": request.headers.get("If-Modified-Since"),
        "if_none_match": request.headers.get("If-None-Match"),
        "address": request.META.get("REMOTE_ADDR"),
        "threads": threading.active_count(),
    }
    heard.append(told)
    if LOG is not None:
        with open(LOG, "a") as log:
            log.write(json.dumps(told) + "\n")
    if "X-Fail" in request.headers:
        raise ValueError("a receiver that fails")
    fail_at("receiver", request)


@receiver([channel_subscribe, channel_unsubscribe])
async def hear_in_a_coroutine(request: HttpRequest, **kwargs: object) -> None:
    fail_at("async-receiver", request)


@receiver(channel_subscribe)
def hear_subscribe(request: HttpRequest, channel_id: str, **kwargs: object) -> None:
    hear("subscribe", request, channel_id)


@receiver(channel_unsubscribe)
def hear_unsubscribe(request: HttpRequest, channel_id: str, **kwargs: object) -> None:
    hear("unsubscribe", request, channel_id)


def tell(request: HttpRequest) -> JsonResponse:
    """Respond with the signals, of one channel if it is given, or with their number."""
    channel = request.GET.get("channel")
    events = [each for each in list(heard) if channel in (None, each["channel_id"])]
    return JsonResponse({"heard": len(events) if "count" in request.GET else events})


async def state(request: HttpRequest) -> JsonResponse:
    """Respond with the numbers of tasks and threads."""
    return JsonResponse(
        {"tasks": len(asyncio.all_tasks()), "threads": threading.active_count()}
    )


def daphne(request: HttpRequest) -> JsonResponse:
    """Respond with the settings of the Daphne that serves this, and of its process."""
    from twisted.internet import reactor

    [listening] = [each for each in reactor.getReaders() if hasattr(each, "backlog")]
    return JsonResponse(
        {
            "backlog": listening.backlog,
            "factory": type(listening.factory).__module__,
            "thresholds": gc.get_threshold(),
            "frozen": gc.get_freeze_count() > 0,
        }
    )


def publish(request: HttpRequest, channel_id: str) -> JsonResponse:
    """Publish from a sync view."""
    receipt = send_update(channel_id, {"type": "sync", "by": "view"})
    assert receipt is not None
    return JsonResponse({"status": receipt.status, "info": receipt.info})


async def apublish(request: HttpRequest, channel_id: str) -> JsonResponse:
    """Publish from an async view."""
    receipt = await asend_update(channel_id, {"type": "async", "by": "view"})
    assert receipt is not None
    return JsonResponse({"status": receipt.status, "info": receipt.info})


def places(request: HttpRequest, channel_id: str) -> JsonResponse:
    """Respond with the URLs of a page and of a channel."""
    return JsonResponse(
        {"page": reverse("hello"), "channel": subscriber_url(channel_id)}
    )


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello from Django")


urlpatterns = [
    path("static/<path:path>", serve, {"insecure": True}),
    path("hello", hello, name="hello"),
    path("places/<path:channel_id>", places),
    path("heard", tell),
    path("state", state),
    path("daphne", daphne),
    path("publish/<channel_id>", publish),
    path("apublish/<channel_id>", apublish),
    path("passthrough", include("pushserver.urls")),
    path("with-slash/", include("pushserver.urls")),
]
