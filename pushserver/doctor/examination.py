"""What is asked through the public URL, and what the answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any
from urllib.parse import urlsplit

from pushserver.addresses import contains
from pushserver.conf import (
    PublisherLocation,
    PushServerSettings,
    SubscriberLocation,
    get_settings,
)
from pushserver.paths import build_path
from pushserver.publishers import PublishError, Receipt
from pushserver.updates import publisher_url, send_update

from .echo import COOKIE, make_channel_id, make_echo_id
from .visits import NO_ANSWER, Answer, Visit, outside_addresses

#: Bytes of the largest message that is sent to find a limit.
MAX_PROBE = 16 * 1024 * 1024

#: Seconds by which clocks may differ. An id has whole seconds, and asking takes time.
CLOCK_TOLERANCE = 5

#: Seconds by which a poll may end sooner or later than set.
TIMEOUT_TOLERANCE = 1.5

#: Seconds for which a poll is watched that is held for ever.
LONG_ENOUGH = 75

#: Makes the answers long enough for a proxy to think of compressing them.
PADDING = "All of this is here to be compressed. " * 60

COMPRESSED = {"Accept-Encoding": "gzip"}

#: What a publisher is answered whose message was taken.
TAKEN = (201, 202)

EPOCH = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match": "0"}


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        ok: Whether all is well, None if it does not apply or could not be tried.
        text: What was seen.
        advice: What to do about it.
    """

    check: str
    ok: bool | None
    text: str
    advice: str = ""


class Failure(Exception):
    """Something is wrong, in a sentence, and what to do about it."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text, advice)
        self.text = text
        self.advice = advice


class NotTried(Exception):
    """A check does not apply, or needs something that is not there."""


class Examination:
    """Looks at the way from this process to subscribers and back, once.

    Args:
        url: The public URL of the site, as browsers have it.
        patience: Seconds in which an answer has to come that is not held.
        delay: Seconds that a message may take to a waiting subscriber.
    """

    def __init__(self, url: str, *, patience: float = 5, delay: float = 2) -> None:
        self.base = url.rstrip("/")
        self.patience = patience
        self.delay = delay
        self.conf = get_settings()
        self.publisher, self.subscriber = _find_locations(self.conf)
        self._channels: list[str] = []
        # The channel of a message that was received, and the answer that held it.
        self._channel = ""
        self._first: Answer | None = None
        self._sends_elsewhere = False

    def run(self) -> Iterator[Finding]:
        """Yield what each check found, as soon as it is known."""
        checks: list[Callable[[], str]] = [
            self.check_sending,
            self.check_receiving,
            self.check_etag,
            self.check_cache,
            self.check_delay,
            self.check_cross_origin,
            self.check_preflight,
            self.check_passthrough,
            self.check_clock,
            self.check_size,
            self.check_publishing,
        ]
        with ThreadPoolExecutor(1) as threads:
            # What takes longest goes on beside the rest.
            waiting = threads.submit(self.check_timeout)
            try:
                for check in checks:
                    yield self._find(check.__name__, check)
                yield self._find(self.check_timeout.__name__, waiting.result)
            finally:
                self._clean_up(waiting)

    def _find(self, name: str, check: Callable[[], str]) -> Finding:
        name = name.removeprefix("check_").replace("_", "-")
        try:
            return Finding(name, True, check())
        except Failure as failure:
            return Finding(name, False, failure.text, failure.advice)
        except NotTried as reason:
            return Finding(name, None, str(reason))

    # Steps

    def _new_channel(self, channel_id: str | None = None) -> str:
        channel_id = channel_id or make_channel_id()
        self._channels.append(channel_id)
        if not self.publisher.create_on_post:
            Visit(publisher_url(channel_id), "PUT", patience=self.patience).answer()
        return channel_id

    def _ask(
        self,
        channel_id: str,
        headers: dict[str, str] | None = None,
        *,
        method: str = "GET",
        patience: float | None = None,
    ) -> Visit:
        """Ask the subscriber location, for the oldest message if nothing is said."""
        return Visit(
            self.base + build_path(self.subscriber.url, channel_id),
            method,
            {**EPOCH, **(headers or {})},
            patience=self.patience if patience is None else patience,
        )

    def _post(self, channel_id: str, source: str | None = None) -> Visit:
        """Publish as the world might."""
        return Visit(
            self.base + build_path(self.publisher.url, channel_id),
            "POST",
            {"Content-Type": "application/json"},
            json.dumps(PADDING).encode(),
            patience=self.patience,
            source=source,
        )

    def _send(self, channel_id: str, data: Any = PADDING, **options: Any) -> Receipt:
        """Publish as the site does."""
        receipt = send_update(channel_id, data, **options)
        if receipt is None:
            raise Failure(
                "A failure to publish was ignored (PUSH_SERVER_IGNORE_ERRORS).",
                "Its reason is in the log.",
            )
        return receipt

    def _publish(self, channel_id: str) -> None:
        """Publish in any way that arrives, so that more can be found out."""
        if not self._sends_elsewhere:
            with suppress(PublishError, Failure):
                self._send(channel_id)
                return
        if self._post(channel_id).answer().status not in TAKEN:
            raise NotTried("Nothing can be published, neither from here nor there.")

    def _received(self) -> Answer:
        """Return the answer to a subscriber for whom there was a message."""
        if self._first is None or self._first.status != 200:
            raise NotTried("No message is received.")
        return self._first

    def _name(self, answer: Answer) -> dict[str, str]:
        """Return the headers that name an answer's message."""
        date, tag = answer.headers["Last-Modified"], answer.headers["Etag"]
        if date is None or tag is None:
            raise NotTried("The id of a message does not arrive.")
        return {"If-Modified-Since": date, "If-None-Match": tag}

    def _clean_up(self, waiting: Future[str]) -> None:
        waiting.cancel()
        for channel_id in self._channels:
            url = publisher_url(channel_id)
            if not Visit(url, "DELETE", patience=self.patience).answer().status:
                break  # They are forgotten in time.

    # Checks

    def check_sending(self) -> str:
        """Whether send_update of this process reaches a push server."""
        channel_id = self._new_channel()
        try:
            receipt = self._send(channel_id)
        except PublishError as error:
            raise Failure(
                f"send_update() of this process fails: {error}",
                "Correct PUSH_SERVER['publisher_host'] or 'publisher', or the proxy"
                " before the publisher location.",
            ) from error
        return f"send_update() of this process is answered {receipt.status}."

    def check_receiving(self) -> str:
        """Whether what this process sends can be received at the public URL."""
        channel_id = self._new_channel()
        nothing_sent = None
        try:
            self._publish(channel_id)
        except NotTried as reason:
            nothing_sent = reason
        answer = self._ask(channel_id, COMPRESSED).answer()
        if nothing_sent and (answer.status or answer.error == NO_ANSWER):
            raise nothing_sent
        if answer.status == 200:
            self._channel, self._first = channel_id, answer
            return "A message that was sent is received at the public URL."
        if 300 < answer.status < 400 and answer.headers["Location"]:
            raise Failure(
                f"The public URL redirects to {answer.headers['Location']}.",
                "Ask for the URL that browsers end at.",
            )
        if self._post(channel_id).answer().status in TAKEN:
            answer = self._ask(channel_id, COMPRESSED).answer()
        if answer.status == 200:
            self._channel, self._first = channel_id, answer
            self._sends_elsewhere = True
            raise Failure(
                "What this process sends does not arrive at the public URL, but what is"
                " published there does: they lead to different push servers.",
                "Let PUSH_SERVER['publisher_host'] lead to the push server behind the"
                " public URL, or let all of them share a store.",
            )
        raise Failure(
            f"A subscriber at the public URL gets {answer} instead of a message.",
            "Let the proxy pass the subscriber location to the push server.",
        )

    def check_etag(self) -> str:
        """Whether the id of a message arrives as it was sent."""
        answer = self._received()
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

    def check_cache(self) -> str:
        """Whether a subscriber is never given an old answer again."""
        seen = self._name(self._received())
        # Nothing is new, so a long poll must not be answered before its time.
        long, timeout = self.subscriber.polling == "long", self.subscriber.timeout
        patience = min(self.patience, 1) if long else self.patience
        again = self._ask(self._channel, seen, patience=patience).answer()
        is_early = long and (not timeout or again.seconds < timeout)
        if again.status == 200 or (again.status == 304 and is_early):
            raise Failure(
                "Who has a message is answered though nothing is new: a cache answers.",
                "Turn it off for the subscriber location (nginx: proxy_cache off).",
            )
        return "No cache answers in place of the push server."

    def check_delay(self) -> str:
        """Whether a message reaches a waiting subscriber at once."""
        if self.subscriber.polling != "long":
            raise NotTried("The subscriber location holds no requests.")
        seen = self._name(self._received())
        waiting = self._ask(self._channel, seen, patience=self.patience + self.delay)
        started = time()
        self._publish(self._channel)
        answer = waiting.answer()
        seconds = time() - started
        if answer.status != 200:
            raise Failure(
                f"A waiting subscriber gets {answer} instead of the message.",
                "Look into the log of the proxy; a waiting request must be let wait.",
            )
        if seconds > self.delay:
            raise Failure(
                f"A message takes {seconds:.1f} s to a waiting subscriber: answers are"
                " buffered or throttled on the way.",
                "Turn that off for the subscriber location (nginx: proxy_buffering off,"
                " no limit_rate).",
            )
        return f"A message reaches a waiting subscriber in {seconds:.2f} s."

    def check_cross_origin(self) -> str:
        """Whether pages of the allowed origins may read answers."""
        origin = self._origin()
        self._received()
        answer = self._ask(self._channel, {"Origin": origin}).answer()
        self._check_allowed(answer, origin)
        exposed = ", ".join(answer.all("Access-Control-Expose-Headers")).lower()
        for header in ("last-modified", "etag"):
            if header not in exposed:
                raise Failure(
                    f"Pages of {origin} may not read {header}, so they cannot go on.",
                    "Let Access-Control-Expose-Headers through.",
                )
        return f"Pages of {origin} may read messages."

    def check_preflight(self) -> str:
        """Whether pages of the allowed origins may ask for the next message."""
        origin = self._origin()
        self._received()
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "if-modified-since,if-none-match",
        }
        answer = self._ask(self._new_channel(), asked, method="OPTIONS").answer()
        if not answer.is_success:
            raise Failure(
                f"A preflight (OPTIONS) is answered {answer}.",
                "Let OPTIONS through to the push server.",
            )
        self._check_allowed(answer, origin)
        allowed = ", ".join(answer.all("Access-Control-Allow-Headers")).lower()
        for header in ("if-modified-since", "if-none-match"):
            if header not in allowed and "*" not in allowed:
                raise Failure(
                    f"A preflight does not allow {header}, so pages get one message.",
                    "Let Access-Control-Allow-Headers through.",
                )
        return f"Pages of {origin} may ask for the next message."

    def _origin(self) -> str:
        origins = self.subscriber.allow_origin
        if not origins:
            raise NotTried("There is no 'allow_origin'.")
        return "https://elsewhere.example" if origins == ("*",) else origins[0]

    def _check_allowed(self, answer: Answer, origin: str) -> None:
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
            raise Failure(
                f"Access-Control-Allow-Origin is {given}, not {origin}.", advice
            )
        if self.subscriber.allow_credentials and answer.all(
            "Access-Control-Allow-Credentials"
        ) != ["true"]:
            raise Failure(
                "Access-Control-Allow-Credentials is not 'true', so pages of other"
                " origins cannot send cookies.",
                advice,
            )

    def check_passthrough(self) -> str:
        """Whether the passthrough view hears of subscribers, with their cookies."""
        if self.subscriber.passthrough is None:
            raise NotTried("There is no 'passthrough'.")
        channel_id = self._new_channel(make_echo_id())
        self._publish(channel_id)
        secret = make_channel_id()
        cookie = {"Cookie": f"{COOKIE}={secret}"}
        first = self._ask(channel_id, cookie).answer()
        answer = self._ask(channel_id, {**cookie, **self._name(first)}).answer()
        try:
            told = json.loads(answer.body)
        except ValueError:
            told = None
        if not isinstance(told, dict) or told.get("type") != "pushserver.doctor":
            raise Failure(
                "The passthrough view does not hear of a subscriber.",
                f"Look whether {self.subscriber.passthrough} is in the URLconf of the"
                " site that serves it, and whether INTERNAL_IPS holds the proxy's"
                " address.",
            )
        if told["cookie"] != secret:
            raise Failure(
                "The passthrough view hears of a subscriber without the cookies.",
                "Let the Cookie header through to the push server and to the view.",
            )
        return "The passthrough view hears of subscribers, with their cookies."

    def check_clock(self) -> str:
        """Whether the push server's clock, and the proxy's, agree with this one."""
        channel_id = self._new_channel()
        self._publish(channel_id)
        now = time()
        answer = self._ask(channel_id).answer()
        for header, whose in (
            ("Last-Modified", "The push server's clock"),
            ("Date", "The clock at the public URL"),
        ):
            for date in answer.all(header):
                self._compare(date, now, whose)
        return "The clocks agree."

    def _compare(self, date: str, now: float, whose: str) -> None:
        try:
            skew = parsedate_to_datetime(date).timestamp() - now
        except ValueError:
            return  # An id that is no date is another check's affair.
        if abs(skew) > CLOCK_TOLERANCE + self.patience:
            raise Failure(
                f"{whose} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"
                " this one.",
                "Set the clocks by NTP: ids are times.",
            )

    def check_size(self) -> str:
        """Whether messages of the largest size that is set go through."""
        size = self.publisher.max_message_size
        if not 0 < size <= MAX_PROBE:
            raise NotTried(f"'max_message_size' is {size}, which is not tried.")
        channel_id = self._new_channel()
        try:
            self._send(channel_id, b"x" * size, already_serialized=True)
        except PublishError as error:
            if error.status == 413:
                raise Failure(
                    f"A message of {size} bytes, which max_message_size allows, is"
                    " refused as too large on the way.",
                    "Raise the proxy's limit (nginx: client_max_body_size), or lower"
                    " 'max_message_size'.",
                ) from error
            raise NotTried(f"It cannot be sent: {error}") from error
        answer = self._ask(channel_id).answer()
        if answer.status == 200 and len(answer.body) == size:
            return f"A message of {size} bytes goes through."
        raise NotTried("What this process sends is not received.")

    def check_publishing(self) -> str:
        """Whether the world cannot publish."""
        networks = self.publisher.allow_from or ()
        advice = (
            "Do not pass the publisher location on, or allow addresses before it; and"
            " have the proxy send X-Forwarded-For, by which the push server tells who"
            " is outside."
        )
        if self.publisher.allow_from is None:
            raise Failure(
                "Everybody may publish: 'allow_from' is 'any'.",
                "Name the addresses that may publish.",
            )
        visit = self._post(self._new_channel())
        if visit.answer().status not in TAKEN:
            return "The publisher location is closed to the world."
        if not contains(networks, visit.came_from):
            raise Failure(
                "The publisher location is open to the world: it took a message from"
                f" {visit.came_from}, which may not publish.",
                advice,
            )
        for source in outside_addresses():
            if contains(networks, source):
                continue
            if self._post(self._new_channel(), source).answer().status in TAKEN:
                raise Failure(
                    "The publisher location is open to the world: it took a message"
                    f" from {source}, which may not publish.",
                    advice,
                )
        return f"The publisher location lets in {visit.came_from}, which may publish."

    def check_timeout(self) -> str:
        """Whether a poll is held for as long as is set."""
        location = self.subscriber
        if location.polling != "long":
            raise NotTried("The subscriber location holds no requests.")
        channel_id = self._new_channel()
        self._publish(channel_id)
        first = self._ask(channel_id).answer()
        timeout = location.timeout or LONG_ENOUGH
        patience = timeout + self.patience
        answer = self._ask(channel_id, self._name(first), patience=patience).answer()
        if answer.status in (304, 408) and location.timeout:
            if abs(answer.seconds - timeout) < TIMEOUT_TOLERANCE:
                return f"A poll is held for {timeout:g} s, and then ended."
            raise Failure(
                f"A poll ended after {answer.seconds:.0f} s; 'timeout' is {timeout:g}.",
                "Look which server has another timeout.",
            )
        if answer.error == NO_ANSWER and not location.timeout:
            return f"A poll is held for {timeout} s and more."
        raise Failure(
            f"A poll was cut after {answer.seconds:.0f} s ({answer}); 'timeout' is"
            f" {location.timeout:g} s: something on the way has a shorter one.",
            "Let it wait longer (nginx: proxy_read_timeout), or lower 'timeout'.",
        )


def _find_locations(
    conf: PushServerSettings,
) -> tuple[PublisherLocation, SubscriberLocation]:
    """Return where this process publishes, and where that can be received.

    Raises ``ValueError``, with a sentence, where nothing can be examined.
    """
    publisher = conf.first_location(PublisherLocation)
    if publisher is None or conf.first_location(SubscriberLocation) is None:
        raise ValueError(
            "PUSH_SERVER['locations'] needs a publisher and a subscriber location."
        )
    if not publisher.store_messages:
        raise ValueError(
            "The first publisher location, where updates are sent, keeps no messages."
            " So there is nothing that could be received when it is asked for."
        )
    for subscriber in conf.locations:
        if isinstance(subscriber, SubscriberLocation) and (
            subscriber.store == publisher.store
        ):
            break
    else:
        raise ValueError(
            "No subscriber location has the store of the first publisher location,"
            f" where updates are sent: {publisher.store!r}."
        )
    channel_id = make_channel_id()
    for location in (publisher, subscriber):
        try:
            build_path(location.url, channel_id)
        except ValueError as error:
            raise ValueError(f"A doctor needs channels of its own. {error}") from error
        if 0 < location.max_channel_id_length < len(channel_id):
            raise ValueError(
                "A doctor needs channels of its own, with ids of"
                f" {len(channel_id)} characters; 'max_channel_id_length' of"
                f" {location.url.pattern!r} is {location.max_channel_id_length}."
            )
    return publisher, subscriber


def check_url(url: str) -> None:
    """Raise ``ValueError``, with a sentence, for what is no public URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL of a site, as https://example.com is one.")
