"""Publishing, from sync and from async code, and the receivers of signals."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from pushserver.publishers import PublishError, Receipt
from pushserver.signals import channel_subscribe, post_send_update
from pushserver.updates import (
    aposition,
    asend_update,
    position,
    publisher_url,
    send_update,
    subscriber_url,
    user_channel,
)


def publish(request: HttpRequest) -> HttpResponse:
    since = position(["news"])
    receipt: Receipt | None = send_update("news", {"a": [1]}, ignore_errors=True)
    if receipt is not None and receipt.delivered and receipt.info is not None:
        print(receipt.info["last_message_id"])
    return render(request, "page.html", {"since": since})


async def apublish(request: HttpRequest) -> HttpResponse:
    last: str | None = (await aposition(["news"]))["news"]
    try:
        await asend_update("news", "<p>", content_type="text/html", event="story")
    except PublishError as error:
        return HttpResponse(error.reason, status=error.status or 503)
    channel_id: str = user_channel(request.user)
    url: str = subscriber_url([channel_id, "news"], expires=60, user=request.user)
    return HttpResponse(f"{url} {publisher_url('news')} {last}")


@receiver(channel_subscribe)
def arrive(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    print(request.user, channel_id)


@receiver(post_send_update)
async def note(channel_id: str, response: Receipt | Exception, **kwargs: Any) -> None:
    print(channel_id, response)
