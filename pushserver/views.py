"""The passthrough view, which sends signals about subscribers."""

from __future__ import annotations

import logging

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.views.decorators.csrf import csrf_exempt

from . import signals
from .addresses import is_inside, known_networks, read_hops
from .origins import find_page_fault

logger = logging.getLogger(__name__)

#: The key in an ASGI scope that marks a request as made by the push server itself. A
#: client cannot forge it, because headers do not become keys of the scope.
INTERNAL_REQUEST = "pushserver.internal"


@transaction.non_atomic_requests  # Each receiver has a transaction of its own.
@csrf_exempt
@login_not_required
def passthrough(request: HttpRequest) -> HttpResponse:
    """Send ``channel_subscribe`` or ``channel_unsubscribe``.

    Accepts requests of the push server in this process and, for nginx as the push
    server, requests from addresses in ``INTERNAL_IPS``. Others get 403, and so do pages
    of other sites in a browser at such an address. The form has ``channel_id`` and
    ``subscribe`` or ``unsubscribe``. Source: protocol, "Passthrough".
    """
    if not _is_made_by_push_server(request):
        if not _is_internal(request):
            return _refused("Only the push server may make passthrough requests.")
        fault = find_page_fault(request)
        if fault is not None:
            return _refused(fault)
    if request.method != "POST":
        return _refused("A passthrough request is a POST.")
    channel_id = request.POST.get("channel_id")
    if not channel_id:
        return _refused("The form has no channel_id.")
    if request.POST.get("subscribe"):
        signal = signals.channel_subscribe
    elif request.POST.get("unsubscribe"):
        signal = signals.channel_unsubscribe
    else:
        return _refused("The form has neither subscribe nor unsubscribe.")
    try:
        # send_robust: Django logs a receiver's exception and calls the other receivers.
        responses = signal.send_robust(
            sender=passthrough, request=request, channel_id=channel_id
        )
    except BaseException:
        # For example a CancelledError of a coroutine: Django would take it for a
        # disconnect of the client, and not log it.
        extra = {"channel_id": channel_id, "reason": "failed"}
        logger.exception("A receiver of a passthrough signal has failed", extra=extra)
        return HttpResponse()
    for _, response in responses:
        if isinstance(response, signals.ReceiverExited):
            # Logged here, too, because Django's own logging may only send a mail.
            extra = {"channel_id": channel_id, "reason": "failed"}
            logger.error("%s", response, exc_info=response, extra=extra)
    return HttpResponse()


def _is_made_by_push_server(request: HttpRequest) -> bool:
    return getattr(request, "scope", {}).get(INTERNAL_REQUEST) is True


def _is_internal(request: HttpRequest) -> bool:
    """Return whether all addresses of a request are in ``INTERNAL_IPS``."""
    return is_inside(
        known_networks(settings.INTERNAL_IPS),
        request.META.get("REMOTE_ADDR"),
        read_hops(request.headers.get),
    )


def _refused(reason: str) -> HttpResponse:
    return HttpResponseForbidden(
        f"{reason}\n", content_type="text/plain; charset=utf-8"
    )
