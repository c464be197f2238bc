"""The check that all processes behind the public URL have the same messages."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait

from .findings import Failure, NotChecked
from .probe import ACCEPTED, Probe, is_message
from .requests import NO_ANSWER, Response

#: The number of messages that are published, each on a channel of its own.
MESSAGES = 3

#: The number of requests for each message, each on a new connection: enough that
#: another process answers one of them.
REQUESTS = 12

#: The most seconds between two requests. Processes that share a socket take turns only
#: if connections do not arrive all at once.
INTERVAL = 0.05

#: The statuses that a process answers if it does not have the message.
MISSING = (304, 404, 408, 409)


def check_processes(probe: Probe) -> str:
    """Check that each request finds a message, whichever process answers it."""
    # Counted separately for messages published at the public URL (True) and by
    # send_update(), which may reach another server; that is another fault.
    received, missing = Counter[bool](), Counter[bool]()
    for number in range(MESSAGES):
        channel_id = probe.new_channel()
        # send_update() keeps its connection, which leads to one process; a request to
        # the public URL opens a new one.
        is_public = number > 0 and probe.post(channel_id).response().status in ACCEPTED
        if not is_public:
            probe.publish(channel_id)
            is_public = probe.cannot_send
        responses = _ask_often(probe, channel_id)
        received[is_public] += sum(map(is_message, responses))
        missing[is_public] += _count_missing(probe, responses)
        if received[is_public] and missing[is_public]:
            probe.is_split = True
            requests = received[is_public] + missing[is_public]
            raise Failure(
                "Several processes answer at the public URL, and they do not share"
                f" their messages: of {requests} requests for a message,"
                f" {missing[is_public]} found nothing.",
                _advise(probe),
            )
    if not received.total():
        raise NotChecked("No message is received at the public URL.")
    return f"Each of {received.total()} requests finds the message it asks for."


def _ask_often(probe: Probe, channel_id: str) -> list[Response]:
    """Send many requests, not waiting for held ones; return the responses."""
    responses = []
    with ThreadPoolExecutor(REQUESTS) as threads:
        for number in range(REQUESTS):
            # With URLs that differ, so that each request passes a cache.
            request = probe.ask(channel_id, query=f"?doctor={number}")
            responses.append(threads.submit(request.response))
            wait(responses[-1:], INTERVAL)
    return [response.result() for response in responses]


def _count_missing(probe: Probe, responses: list[Response]) -> int:
    """Return the number of requests that reached a process without the message."""
    slowest = max((each.seconds for each in responses if is_message(each)), default=0)
    # If the other answers are slow, a request without an answer may not be held.
    is_held = slowest < probe.patience / 4
    return sum(
        each.status in MISSING or (is_held and each.error == NO_ANSWER)
        for each in responses
    )


def _advise(probe: Probe) -> str:
    """Return how to let the processes share their messages."""
    if probe.store.shared:
        return "Let all of them have the same settings for the store."
    return (
        f"The store of the type {probe.store.type!r} is in the memory of one process:"
        " run one process, or use a store of the type 'redis'."
    )
