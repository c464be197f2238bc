"""Whether all processes that answer at the public URL have the same messages."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait

from .findings import Failure, NotChecked
from .probe import ACCEPTED, Probe, is_message
from .requests import NO_ANSWER, Response

#: How many messages are published, each on a channel of its own.
MESSAGES = 3

#: How many requests ask for each of them, each on a new connection: enough for another
#: process to answer one of them.
REQUESTS = 12

#: Seconds between two requests if the first is not answered. Processes that share a
#: socket take turns only at connections that do not come all at once.
INTERVAL = 0.05

#: What a process answers that does not have the message.
MISSING = (304, 404, 408, 409)


def check_processes(probe: Probe) -> str:
    """Whether each request finds a message, whatever process answers it."""
    # By whether the message was published at the public URL: what this process sends
    # may go elsewhere, which is another fault.
    require_response, missing = Counter[bool](), Counter[bool]()
    for number in range(MESSAGES):
        channel_id = probe.new_channel()
        # The connections to the publisher location are kept, and lead to one process.
        is_public = number > 0 and probe.post(channel_id).response().status in ACCEPTED
        if not is_public:
            probe.publish(channel_id)
            is_public = probe.cannot_send
        responses = _ask_often(probe, channel_id)
        require_response[is_public] += sum(map(is_message, responses))
        missing[is_public] += _count_missing(probe, responses)
        if require_response[is_public] and missing[is_public]:
            probe.is_split = True
            requests = require_response[is_public] + missing[is_public]
            raise Failure(
                "Several processes answer at the public URL, and they do not share"
                f" their messages: of {requests} requests for a message,"
                f" {missing[is_public]} found nothing.",
                _advise(probe),
            )
    if not require_response.total():
        raise NotChecked("No message is received at the public URL.")
    return f"Each of {require_response.total()} requests finds the message it asks for."


def _ask_often(probe: Probe, channel_id: str) -> list[Response]:
    """Return the answers to many requests; those that are held are not waited for."""
    responses = []
    with ThreadPoolExecutor(REQUESTS) as threads:
        for _ in range(REQUESTS):
            responses.append(threads.submit(probe.ask(channel_id).response))
            wait(responses[-1:], INTERVAL)
    return [response.result() for response in responses]


def _count_missing(probe: Probe, responses: list[Response]) -> int:
    """Return how many requests were answered, or held, by who has not the message."""
    slowest = max((each.seconds for each in responses if is_message(each)), default=0)
    # If those who have it are slow, a request without an answer need not be held.
    is_held = slowest < probe.patience / 4
    return sum(
        each.status in MISSING or (is_held and each.error == NO_ANSWER)
        for each in responses
    )


def _advise(probe: Probe) -> str:
    if probe.store.shared:
        return "Let all of them have the same settings for the store."
    return (
        f"The store of the type {probe.store.type!r} is in the memory of one process:"
        " run one process, or use a store of the type 'redis'."
    )
