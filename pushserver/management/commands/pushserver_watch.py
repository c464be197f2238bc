"""``manage.py pushserver_watch``: print the messages of a channel as they come."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pushserver.terminal import describe_body, escape
from pushserver.updates import subscriber_url

if TYPE_CHECKING:
    from pushserver.client import Received

#: The transports, as of ``pushserver.client.listen``.
TRANSPORTS = ("stream", "batch", "poll")


class Command(BaseCommand):
    """Prints messages until it is interrupted."""

    help = (
        "Prints the messages of a channel, each in a line after its id, from now on or"
        " from --since on. Ctrl-C ends it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="The id of the channel.")
        parser.add_argument(
            "--location", metavar="NAME", help="The name of a subscriber location."
        )
        parser.add_argument(
            "--url",
            help=(
                "Where the push server is, such as http://127.0.0.1:8000, or the whole"
                " URL of the channel. Defaults to the subscriber_host."
            ),
        )
        parser.add_argument(
            "--transport",
            choices=TRANSPORTS,
            help="Defaults to a stream where there are some.",
        )
        parser.add_argument(
            "--since",
            metavar="ID",
            default="newest",
            help="The id after which it begins, or oldest.",
        )
        parser.add_argument(
            "--header",
            action="append",
            default=[],
            metavar="NAME:VALUE",
            help="A header of the requests, such as a cookie that 'authorize' needs.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.watch(**options)
        except KeyboardInterrupt:
            pass
        except (ImportError, ImproperlyConfigured, OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    def watch(self, **options: Any) -> None:
        """Print messages for ever."""
        from pushserver.client import ListenError, listen  # It needs httpx.

        find_url = partial(
            build_url, options["channel"], options["location"], options["url"]
        )
        headers = dict(map(read_header, options["header"]))
        messages = listen(
            find_url,
            after=options["since"],
            transport=options["transport"],
            headers=headers,
        )
        place = escape(find_url().partition("?")[0])
        self.stderr.write(f"Listening at {place}")
        try:
            for message in messages:
                self.print_message(message)
        except ListenError as error:
            raise CommandError(escape(f"{place}: {error.reason}")) from error

    def print_message(self, message: Received) -> None:
        """Print a message, and what was missed before it."""
        if message.missed is not None:
            self.stderr.write(f"Missed: all up to {escape(message.missed)}")
        words = [message.id, describe_body(message.body, message.content_type)]
        if message.event is not None:
            words.insert(1, f"[{message.event}]")
        self.stdout.write(escape(" ".join(words)))
        self.stdout.flush()


def build_url(channel_id: str, location: str | None, given: str | None) -> str:
    """Return the URL to listen at. Raises ``ValueError``.

    Args:
        channel_id: The channel.
        location: The name of a subscriber location, None for the first that matches.
        given: The URL of the push server or of the channel, None for the settings.
    """
    if given is not None and urlsplit(given).path not in ("", "/"):
        return given
    url = subscriber_url(channel_id, location=location)
    parts = urlsplit(url)
    if given is not None:
        return given.rstrip("/") + url.removeprefix(f"{parts.scheme}://{parts.netloc}")
    if not parts.netloc:
        raise ValueError(
            "The settings do not say where the push server is: give --url, such as"
            " --url http://127.0.0.1:8000, or set 'subscriber_host'."
        )
    return url


def read_header(text: str) -> tuple[str, str]:
    """Return the name and the value of a header. Raises ``ValueError``."""
    name, separator, value = text.partition(":")
    if not separator:
        raise ValueError(f"--header is {text!r}: write it as 'Name: value'.")
    return name.strip(), value.strip()
