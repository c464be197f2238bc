"""Checks that messages arrive, unchanged and without delay."""

from __future__ import annotations

from time import time

from pushserver.conf import get_settings
from pushserver.publishers import PublishError

from .findings import Failure, NotApplicable, NotChecked
from .locations import lets_in
from .probe import ACCEPTED, EPOCH, Probe, is_message
from .requests import NO_ANSWER, Response

#: The advice for a proxy that compares ids itself.
VARNISH = (
    "Let it pass the subscriber location through as it is. Varnish does so with return"
    " (pipe) in vcl_recv, not with return (pass), or if vcl_deliver unsets"
    " req.http.If-None-Match and req.http.If-Modified-Since."
)

COMPRESSED = {"Accept-Encoding": "gzip"}


def check_sending(probe: Probe) -> str:
    """Check that send_update() of this process reaches a push server."""
    channel_id = probe.new_channel()
    try:
        receipt = probe.send(channel_id)
    except PublishError as error:
        probe.cannot_send = True
        if _is_at_default(error):
            raise NotApplicable(
                "PUSH_SERVER has no 'publisher_host', so only the process that serves"
                " the push locations can publish. To publish from other processes, such"
                " as this one, set it to the address and port of the server."
            ) from error
        raise Failure(
            f"send_update() of this process fails: {error}",
            "Correct PUSH_SERVER['publisher_host'] or 'publisher', or the proxy"
            " before the publisher location.",
        ) from error
    return f"send_update() of this process is answered {receipt.status}."


def _is_at_default(error: PublishError) -> bool:
    """Return whether no server listens at the default address."""
    conf = get_settings()
    is_named = conf.publisher_host or conf.address or conf.port
    return (
        not is_named
        and conf.publisher == "auto"
        and isinstance(error.__cause__, ConnectionRefusedError)
    )


def check_receiving(probe: Probe) -> str:
    """Check that updates of this process can be received at the public URL."""
    probe.require_shared_messages()
    channel_id = probe.new_channel()
    not_published = None
    try:
        probe.publish(channel_id)
    except NotChecked as reason:
        not_published = reason
    response = probe.ask(channel_id, COMPRESSED).response()
    if 300 < response.status < 400 and response.headers["Location"]:
        raise Failure(
            f"The public URL redirects to {response.headers['Location']}.",
            "Give the doctor the URL to which it redirects.",
        )
    if not_published and (response.status or response.error == NO_ANSWER):
        raise not_published
    if is_message(response):
        probe.channel, probe.first_response = channel_id, response
        return "A message that was sent is received at the public URL."
    if probe.post(channel_id).response().status in ACCEPTED:
        response = probe.ask(channel_id, COMPRESSED).response()
    if is_message(response):
        probe.channel, probe.first_response = channel_id, response
        probe.sends_elsewhere = True
        raise Failure(
            "What this process sends does not arrive at the public URL, but what is"
            " published there does: they lead to different push servers.",
            "Let PUSH_SERVER['publisher_host'] lead to the push server behind the"
            " public URL, or let all of them share a store.",
        )
    _check_not_modified(response)
    if not response.status:
        raise Failure(
            f"A subscriber at the public URL gets no message: {response}.",
            "Check that the site is served there, also for this machine, and with a"
            " valid certificate if over TLS.",
        )
    if response.status == 403 and not lets_in(probe.subscriber):
        raise NotChecked(
            "The subscriber location asks 'authorize', which does not let the doctor"
            " in. It has a token where a location has 'signed'."
        )
    if response.status == 401 and probe.subscriber.signed:
        raise Failure(
            "A subscriber at the public URL gets 401, although it has a token.",
            "Let the push server have the SECRET_KEY and the clock of this process, and"
            " the proxy pass the query of the URL on.",
        )
    gets = "something else (200)" if response.status == 200 else response
    raise Failure(
        f"A subscriber at the public URL gets {gets} instead of a message.",
        "Let the proxy pass the subscriber location to the push server.",
    )


def _check_not_modified(response: Response) -> None:
    """Raise :class:`Failure` if a subscriber without a message gets "not modified".

    Args:
        response: The response to a request with the epoch as its id.
    """
    modified = response.headers["Last-Modified"]
    if response.status == 304 and modified not in (None, EPOCH["If-Modified-Since"]):
        raise Failure(
            "A proxy answers 304 in place of a message: it compares If-None-Match with"
            " the message's Etag itself.",
            VARNISH,
        )


def check_etag(probe: Probe) -> str:
    """Check that the id of a message arrives unchanged."""
    response = probe.require_response()
    advice = (
        "Turn compression off for the subscriber location (nginx: gzip off), and"
        " let Etag and Last-Modified through."
    )
    tag = response.headers["Etag"]
    if response.headers["Last-Modified"] is None:
        raise Failure("The Last-Modified of a message is stripped.", advice)
    if tag is None:
        raise Failure("The Etag of a message is stripped.", advice)
    if tag.startswith("W/"):
        raise Failure(f"The Etag of a message is weakened: it is {tag}.", advice)
    if not tag.isdigit():
        raise Failure(f"The Etag of a message is changed: it is {tag}.", advice)
    return "The id of a message arrives as it was sent."


def check_cache(probe: Probe) -> str:
    """Check that no cache answers a subscriber."""
    seen = probe.message_id_headers(probe.require_response())
    # There is no new message, so a long poll must not be answered before its timeout.
    long, timeout = probe.subscriber.polling == "long", probe.subscriber.timeout
    patience = min(probe.patience, 1) if long else probe.patience
    again = probe.ask(probe.channel, seen, patience=patience).response()
    is_early = long and (not timeout or again.seconds < timeout)
    if again.status == 200 or (again.status == 304 and is_early):
        raise Failure(
            "A subscriber is answered without a new message: a cache answers.",
            "Turn it off for the subscriber location (nginx: proxy_cache off, as"
            " proxy_cache_bypass is not enough; Squid: cache deny; Varnish: return"
            " (pipe)).",
        )
    if again.status not in (304, 408) and again.error != NO_ANSWER:
        raise NotChecked(f"A subscriber that asks for the next message gets {again}.")
    check_beginning(probe)
    return "No cache answers in place of the push server."


def check_beginning(probe: Probe) -> None:
    """Raise :class:`Failure` unless each new subscriber gets the oldest message."""
    timeout = probe.store.message_timeout
    if probe.is_split or (timeout and timeout < 2 * probe.patience):
        return
    channel_id = probe.new_channel()
    probe.publish(channel_id)
    first, again = (probe.ask(channel_id).response() for _ in range(2))
    _check_not_modified(first)
    _check_not_modified(again)
    id_headers = probe.message_id_headers
    same = is_message(again) and id_headers(again) == id_headers(first)
    if is_message(first) and not same:
        gets = "another message" if again.status == 200 else again
        raise Failure(
            f"A second new subscriber gets {gets} instead of the oldest message: a"
            " cache asks the push server with an id of its own.",
            "Turn it off for the subscriber location (Squid: cache deny).",
        )


def check_delay(probe: Probe) -> str:
    """Check that a message reaches a waiting subscriber without delay."""
    if probe.subscriber.polling != "long":
        raise NotApplicable("The subscriber location holds no requests.")
    seen = probe.message_id_headers(probe.require_response())
    waiting = probe.ask(probe.channel, seen, patience=probe.patience + probe.delay)
    started = time()
    probe.publish(probe.channel)
    response = waiting.response()
    seconds = time() - started
    if not is_message(response):
        raise Failure(
            f"A waiting subscriber gets {response} instead of the message.",
            "See the log of the proxy, which must not end a waiting request.",
        )
    if seconds > probe.delay:
        raise Failure(
            f"A message takes {seconds:.1f} s to a waiting subscriber: answers are"
            " buffered or throttled on the way.",
            "Turn that off for the subscriber location (nginx: proxy_buffering off,"
            " no limit_rate).",
        )
    return f"A message reaches a waiting subscriber in {seconds:.2f} s."
