"""Whether pages may ask, and are heard of."""

from __future__ import annotations

import json
from time import monotonic, sleep
from typing import Any

from .echo import COOKIE, make_channel_id, make_echo_id
from .findings import DoesNotApply, Failure, NotTried
from .visits import NO_ANSWER, Answer
from .way import Way, is_message

#: Seconds between two requests for what the passthrough view tells.
INTERVAL = 0.05


def check_cross_origin(way: Way) -> str:
    """Whether pages of the allowed origins may read answers."""
    origin = _origin(way)
    way.received()
    answer = way.ask(way.channel, {"Origin": origin}).answer()
    if not is_message(answer):
        raise Failure(
            f"A page of {origin} gets {answer} instead of a message.",
            "Let requests with an Origin header through to the push server.",
        )
    _check_allowed(way, answer, origin)
    exposed = ", ".join(answer.all("Access-Control-Expose-Headers")).lower()
    for header in ("last-modified", "etag"):
        if header not in exposed:
            raise Failure(
                f"Pages of {origin} may not read {header}, so they cannot go on.",
                "Let Access-Control-Expose-Headers through.",
            )
    return f"Pages of {origin} may read messages."


def check_preflight(way: Way) -> str:
    """Whether pages of the allowed origins may ask for the next message."""
    origin = _origin(way)
    way.received()
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-modified-since,if-none-match",
    }
    answer = way.ask(way.new_channel(), asked, method="OPTIONS").answer()
    if not answer.is_success:
        raise Failure(
            f"A preflight (OPTIONS) is answered {answer}.",
            "Let OPTIONS through to the push server.",
        )
    _check_allowed(way, answer, origin)
    allowed = ", ".join(answer.all("Access-Control-Allow-Headers")).lower()
    for header in ("if-modified-since", "if-none-match"):
        if header not in allowed and "*" not in allowed:
            raise Failure(
                f"A preflight does not allow {header}, so pages get one message.",
                "Let Access-Control-Allow-Headers through.",
            )
    return f"Pages of {origin} may ask for the next message."


def _origin(way: Way) -> str:
    origins = way.subscriber.allow_origin
    if not origins:
        raise DoesNotApply("There is no 'allow_origin'.")
    return "https://elsewhere.example" if origins == ("*",) else origins[0]


def _check_allowed(way: Way, answer: Answer, origin: str) -> None:
    allowed = answer.all("Access-Control-Allow-Origin")
    advice = "Let the push server's CORS headers through, and add none to them."
    if len(allowed) > 1:
        raise Failure(
            f"There are {len(allowed)} headers Access-Control-Allow-Origin, so"
            " browsers refuse them all.",
            advice,
        )
    if allowed not in ([origin], ["*"]):
        given = allowed[0] if allowed else "missing"
        raise Failure(f"Access-Control-Allow-Origin is {given}, not {origin}.", advice)
    if way.subscriber.allow_credentials and answer.all(
        "Access-Control-Allow-Credentials"
    ) != ["true"]:
        raise Failure(
            "Access-Control-Allow-Credentials is not 'true', so pages of other"
            " origins cannot send cookies.",
            advice,
        )


def check_passthrough(way: Way) -> str:
    """Whether the passthrough view hears of subscribers, with their cookies."""
    if way.subscriber.passthrough is None:
        raise DoesNotApply("There is no 'passthrough'.")
    way.check_same_messages()
    channel_id = way.new_channel(make_echo_id())
    way.publish(channel_id)
    secret = make_channel_id()
    cookie = {"Cookie": f"{COOKIE}={secret}"}
    seen = {**cookie, **way.name(way.ask(channel_id, cookie).answer())}
    started = monotonic()
    told = None
    while told is None:
        answer = way.ask(channel_id, seen).answer()
        if answer.status not in (200, 304, 408) and answer.error != NO_ANSWER:
            raise NotTried(f"A subscriber with a cookie gets {answer}.")
        told = _read_echo(answer)
        # A poll may end sooner than a slow view has been called.
        if monotonic() - started > way.patience:
            break
        sleep(INTERVAL)
    if told is None:
        raise Failure(
            "The passthrough view does not hear of a subscriber.",
            f"Look whether {way.subscriber.passthrough} is in the URLconf of the"
            " site that serves it, whether INTERNAL_IPS holds the proxy's address, and"
            " whether send_update() of that site reaches the push server.",
        )
    if told["cookie"] != secret:
        raise Failure(
            "The passthrough view hears of a subscriber without the cookies.",
            "Let the Cookie header through to the push server and to the view.",
        )
    return "The passthrough view hears of subscribers, with their cookies."


def _read_echo(answer: Answer) -> dict[str, Any] | None:
    """Return what the passthrough view has told, None if it is something else."""
    try:
        told = json.loads(answer.body)
    except ValueError:
        return None
    is_echo = isinstance(told, dict) and told.get("type") == "pushserver.doctor"
    return told if is_echo else None
