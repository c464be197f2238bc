"""Whether all processes that answer at the public URL have the same messages."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait

from .findings import Failure, NotTried
from .visits import NO_ANSWER, Answer
from .way import TAKEN, Way, is_message

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


def check_processes(way: Way) -> str:
    """Whether each request finds a message, whatever process answers it."""
    # By whether the message was published at the public URL: what this process sends
    # may go elsewhere, which is another fault.
    received, missing = Counter[bool](), Counter[bool]()
    for number in range(MESSAGES):
        channel_id = way.new_channel()
        # The connections to the publisher location are kept, and lead to one process.
        is_public = number > 0 and way.post(channel_id).answer().status in TAKEN
        if not is_public:
            way.publish(channel_id)
            is_public = way.cannot_send
        answers = _ask_often(way, channel_id)
        received[is_public] += sum(map(is_message, answers))
        missing[is_public] += _count_missing(way, answers)
        if received[is_public] and missing[is_public]:
            way.is_split = True
            requests = received[is_public] + missing[is_public]
            raise Failure(
                "Several processes answer at the public URL, and they do not share"
                f" their messages: of {requests} requests for a message,"
                f" {missing[is_public]} found nothing.",
                _advise(way),
            )
    if not received.total():
        raise NotTried("No message is received at the public URL.")
    return f"Each of {received.total()} requests finds the message it asks for."


def _ask_often(way: Way, channel_id: str) -> list[Answer]:
    """Return the answers to many requests; those that are held are not waited for."""
    answers = []
    with ThreadPoolExecutor(REQUESTS) as threads:
        for _ in range(REQUESTS):
            answers.append(threads.submit(way.ask(channel_id).answer))
            wait(answers[-1:], INTERVAL)
    return [answer.result() for answer in answers]


def _count_missing(way: Way, answers: list[Answer]) -> int:
    """Return how many requests were answered, or held, by who has not the message."""
    slowest = max((each.seconds for each in answers if is_message(each)), default=0)
    # If those who have it are slow, a request without an answer need not be held.
    is_held = slowest < way.patience / 4
    return sum(
        each.status in MISSING or (is_held and each.error == NO_ANSWER)
        for each in answers
    )


def _advise(way: Way) -> str:
    if way.store.shared:
        return "Let all of them have the same settings for the store."
    return (
        f"The store of the type {way.store.type!r} is in the memory of one process: run"
        " one process, or use a store of the type 'redis'."
    )
