"""Whether messages arrive: all of them, as they were sent, at once."""

from __future__ import annotations

from time import time

from pushserver.conf import get_settings
from pushserver.publishers import PublishError

from .findings import DoesNotApply, Failure, NotTried
from .visits import NO_ANSWER, Answer
from .way import EPOCH, TAKEN, Way, is_message

#: What a proxy has to do that compares ids itself.
VARNISH = (
    "Let it pass the subscriber location through as it is. Varnish does so with return"
    " (pipe) in vcl_recv, not with return (pass), or if vcl_deliver has 'unset"
    " req.http.If-None-Match;'."
)

COMPRESSED = {"Accept-Encoding": "gzip"}


def check_sending(way: Way) -> str:
    """Whether send_update of this process reaches a push server."""
    channel_id = way.new_channel()
    try:
        receipt = way.send(channel_id)
    except PublishError as error:
        way.cannot_send = True
        if _is_at_default(error):
            raise DoesNotApply(
                "PUSH_SERVER names no 'publisher_host', so no other process publishes"
                " than the one that serves the push locations. If one should, such as"
                " this one, name the address and port of the server there."
            ) from error
        raise Failure(
            f"send_update() of this process fails: {error}",
            "Correct PUSH_SERVER['publisher_host'] or 'publisher', or the proxy"
            " before the publisher location.",
        ) from error
    return f"send_update() of this process is answered {receipt.status}."


def _is_at_default(error: PublishError) -> bool:
    """Return whether nobody listens at an address that no setting names."""
    conf = get_settings()
    is_named = conf.publisher_host or conf.address or conf.port
    return (
        not is_named
        and conf.publisher == "auto"
        and isinstance(error.__cause__, ConnectionRefusedError)
    )


def check_receiving(way: Way) -> str:
    """Whether what this process sends can be received at the public URL."""
    way.check_same_messages()
    channel_id = way.new_channel()
    not_published = None
    try:
        way.publish(channel_id)
    except NotTried as reason:
        not_published = reason
    answer = way.ask(channel_id, COMPRESSED).answer()
    if 300 < answer.status < 400 and answer.headers["Location"]:
        raise Failure(
            f"The public URL redirects to {answer.headers['Location']}.",
            "Ask for the URL that browsers end at.",
        )
    if not_published and (answer.status or answer.error == NO_ANSWER):
        raise not_published
    if is_message(answer):
        way.channel, way.first = channel_id, answer
        return "A message that was sent is received at the public URL."
    if way.post(channel_id).answer().status in TAKEN:
        answer = way.ask(channel_id, COMPRESSED).answer()
    if is_message(answer):
        way.channel, way.first = channel_id, answer
        way.sends_elsewhere = True
        raise Failure(
            "What this process sends does not arrive at the public URL, but what is"
            " published there does: they lead to different push servers.",
            "Let PUSH_SERVER['publisher_host'] lead to the push server behind the"
            " public URL, or let all of them share a store.",
        )
    _check_not_modified(answer)
    if not answer.status:
        raise Failure(
            f"A subscriber at the public URL gets no message: {answer}.",
            "Look whether the site is served there, to this machine as well, and over"
            " TLS with a valid certificate.",
        )
    gets = "something else (200)" if answer.status == 200 else answer
    raise Failure(
        f"A subscriber at the public URL gets {gets} instead of a message.",
        "Let the proxy pass the subscriber location to the push server.",
    )


def _check_not_modified(answer: Answer) -> None:
    """Raise :class:`Failure` if a subscriber who has nothing is told "not modified".

    Args:
        answer: The answer to somebody who named the epoch.
    """
    modified = answer.headers["Last-Modified"]
    if answer.status == 304 and modified not in (None, EPOCH["If-Modified-Since"]):
        raise Failure(
            "A proxy answers 304 in place of a message: it compares If-None-Match with"
            " the message's Etag itself.",
            VARNISH,
        )


def check_etag(way: Way) -> str:
    """Whether the id of a message arrives as it was sent."""
    answer = way.received()
    advice = (
        "Turn compression off for the subscriber location (nginx: gzip off), and"
        " let Etag and Last-Modified through."
    )
    tag = answer.headers["Etag"]
    if answer.headers["Last-Modified"] is None:
        raise Failure("The Last-Modified of a message is stripped.", advice)
    if tag is None:
        raise Failure("The Etag of a message is stripped.", advice)
    if tag.startswith("W/"):
        raise Failure(f"The Etag of a message is weakened: it is {tag}.", advice)
    if not tag.isdigit():
        raise Failure(f"The Etag of a message is changed: it is {tag}.", advice)
    return "The id of a message arrives as it was sent."


def check_cache(way: Way) -> str:
    """Whether a subscriber is never given an old answer again."""
    seen = way.name(way.received())
    # Nothing is new, so a long poll must not be answered before its time.
    long, timeout = way.subscriber.polling == "long", way.subscriber.timeout
    patience = min(way.patience, 1) if long else way.patience
    again = way.ask(way.channel, seen, patience=patience).answer()
    is_early = long and (not timeout or again.seconds < timeout)
    if again.status == 200 or (again.status == 304 and is_early):
        raise Failure(
            "Who has a message is answered though nothing is new: a cache answers.",
            "Turn it off for the subscriber location (nginx: proxy_cache off, as"
            " proxy_cache_bypass is not enough; Squid: cache deny; Varnish: return"
            " (pipe)).",
        )
    if again.status not in (304, 408) and again.error != NO_ANSWER:
        raise NotTried(f"Who has a message, and asks for the next, gets {again}.")
    check_beginning(way)
    return "No cache answers in place of the push server."


def check_beginning(way: Way) -> None:
    """Raise :class:`Failure` unless all who begin are given the oldest message."""
    timeout = way.store.message_timeout
    if way.is_split or (timeout and timeout < 2 * way.patience):
        return
    channel_id = way.new_channel()
    way.publish(channel_id)
    first, again = (way.ask(channel_id).answer() for _ in range(2))
    _check_not_modified(first)
    _check_not_modified(again)
    same = is_message(again) and way.name(again) == way.name(first)
    if is_message(first) and not same:
        gets = "another message" if again.status == 200 else again
        raise Failure(
            f"Who begins where somebody else began gets {gets} instead of the oldest"
            " message: a cache asks the push server with an id of its own.",
            "Turn it off for the subscriber location (Squid: cache deny).",
        )


def check_delay(way: Way) -> str:
    """Whether a message reaches a waiting subscriber at once."""
    if way.subscriber.polling != "long":
        raise DoesNotApply("The subscriber location holds no requests.")
    seen = way.name(way.received())
    waiting = way.ask(way.channel, seen, patience=way.patience + way.delay)
    started = time()
    way.publish(way.channel)
    answer = waiting.answer()
    seconds = time() - started
    if not is_message(answer):
        raise Failure(
            f"A waiting subscriber gets {answer} instead of the message.",
            "Look into the log of the proxy; a waiting request must be let wait.",
        )
    if seconds > way.delay:
        raise Failure(
            f"A message takes {seconds:.1f} s to a waiting subscriber: answers are"
            " buffered or throttled on the way.",
            "Turn that off for the subscriber location (nginx: proxy_buffering off,"
            " no limit_rate).",
        )
    return f"A message reaches a waiting subscriber in {seconds:.2f} s."
