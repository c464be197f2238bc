"""Checks of the CORS headers for pages of other origins."""

from __future__ import annotations

from .findings import Failure, NotApplicable
from .probe import Probe, is_message
from .requests import Response


def check_cross_origin(probe: Probe) -> str:
    """Check that pages of the allowed origins may read answers."""
    origin = _origin(probe)
    probe.require_response()
    response = probe.ask(probe.channel, {"Origin": origin}).response()
    if not is_message(response):
        raise Failure(
            f"A page of {origin} gets {response} instead of a message.",
            "Let requests with an Origin header through to the push server.",
        )
    _check_allowed(probe, response, origin)
    exposed = ", ".join(response.all("Access-Control-Expose-Headers")).lower()
    for header in ("last-modified", "etag"):
        if header not in exposed:
            raise Failure(
                f"Pages of {origin} may not read {header}, so they cannot ask for the"
                " next message.",
                "Let Access-Control-Expose-Headers through.",
            )
    return f"Pages of {origin} may read messages."


def check_preflight(probe: Probe) -> str:
    """Check that pages of the allowed origins may ask for the next message."""
    origin = _origin(probe)
    probe.require_response()
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-modified-since,if-none-match",
    }
    response = probe.ask(probe.new_channel(), preflight, method="OPTIONS").response()
    if not response.is_success:
        raise Failure(
            f"A preflight (OPTIONS) is answered {response}.",
            "Let OPTIONS through to the push server.",
        )
    _check_allowed(probe, response, origin)
    allowed = ", ".join(response.all("Access-Control-Allow-Headers")).lower()
    for header in ("if-modified-since", "if-none-match"):
        if header not in allowed and "*" not in allowed:
            raise Failure(
                f"A preflight does not allow {header}, so pages get only the first"
                " message.",
                "Let Access-Control-Allow-Headers through.",
            )
    return f"Pages of {origin} may ask for the next message."


def _origin(probe: Probe) -> str:
    """Return an allowed origin, or raise :class:`NotApplicable` if there is none."""
    origins = probe.subscriber.allow_origin
    if not origins:
        raise NotApplicable("There is no 'allow_origin'.")
    return "https://elsewhere.example" if origins == ("*",) else origins[0]


def _check_allowed(probe: Probe, response: Response, origin: str) -> None:
    """Raise :class:`Failure` unless a response allows pages of an origin to read it."""
    allowed = response.all("Access-Control-Allow-Origin")
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
    if probe.subscriber.allow_credentials and response.all(
        "Access-Control-Allow-Credentials"
    ) != ["true"]:
        raise Failure(
            "Access-Control-Allow-Credentials is not 'true', so pages of other"
            " origins cannot send cookies.",
            advice,
        )
