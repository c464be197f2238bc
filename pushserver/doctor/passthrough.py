"""The check of the passthrough view."""

from __future__ import annotations

import json
from time import monotonic, sleep
from typing import Any

from .echo import COOKIE, make_channel_id, make_echo_id
from .findings import Failure, NotApplicable, NotChecked
from .probe import Probe
from .requests import NO_ANSWER, Response

#: Seconds between two requests for the echo of the passthrough view.
INTERVAL = 0.05


def check_passthrough(probe: Probe) -> str:
    """Check that the passthrough view is notified of subscribers, with cookies."""
    if probe.subscriber.passthrough is None:
        raise NotApplicable("There is no 'passthrough'.")
    probe.require_shared_messages()
    channel_id = probe.new_channel(make_echo_id())
    probe.publish(channel_id)
    secret = make_channel_id()
    cookie = {"Cookie": f"{COOKIE}={secret}"}
    seen = {
        **cookie,
        **probe.message_id_headers(probe.ask(channel_id, cookie).response()),
    }
    started = monotonic()
    echo = None
    while echo is None:
        response = probe.ask(channel_id, seen).response()
        if response.status not in (200, 304, 408) and response.error != NO_ANSWER:
            raise NotChecked(f"A subscriber with a cookie gets {response}.")
        echo = _read_echo(response)
        # A poll may end sooner than a slow view has been called.
        if monotonic() - started > probe.patience:
            break
        sleep(INTERVAL)
    if echo is None:
        raise Failure(
            "The passthrough view does not hear of a subscriber.",
            f"Check that {probe.subscriber.passthrough} is in the URLconf of the site"
            " that serves it, that INTERNAL_IPS holds the proxy's address, and that"
            " send_update() of that site reaches the push server.",
        )
    if echo["cookie"] != secret:
        raise Failure(
            "The passthrough view hears of a subscriber without the cookies.",
            "Let the Cookie header through to the push server and to the view.",
        )
    return "The passthrough view hears of subscribers, with their cookies."


def _read_echo(response: Response) -> dict[str, Any] | None:
    """Return the echo of the passthrough view, None if the body is something else."""
    try:
        echo = json.loads(response.body)
    except ValueError:
        return None
    is_echo = isinstance(echo, dict) and echo.get("type") == "pushserver.doctor"
    return echo if is_echo else None
