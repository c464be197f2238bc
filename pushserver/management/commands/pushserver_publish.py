"""``manage.py pushserver_publish``: publish a message from a terminal."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pushserver.publishers import PublishError
from pushserver.updates import send_update


class Command(BaseCommand):
    """Publishes a message, and prints its id and whether it was delivered."""

    help = (
        "Publishes a message on a channel, and prints its id, and whether a subscriber"
        " was waiting for it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="The id of the channel.")
        parser.add_argument(
            "body",
            nargs="?",
            default="-",
            help="The message: JSON, unless --content-type is given; - reads it.",
        )
        parser.add_argument(
            "--content-type",
            metavar="TYPE",
            help="The Content-Type, such as text/plain. Defaults to that of JSON.",
        )
        parser.add_argument("--event", metavar="NAME", help="The name of its event.")
        parser.add_argument(
            "--no-keep",
            dest="keep",
            action="store_false",
            help="Deliver it only to those who wait now.",
        )
        parser.add_argument(
            "--expires",
            type=float,
            metavar="SECONDS",
            help="When it expires. Defaults to the store's limit.",
        )
        parser.add_argument(
            "--location", metavar="NAME", help="The name of a publisher location."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        body, kind = options["body"], options["content_type"]
        data = sys.stdin.buffer.read() if body == "-" else body.encode()
        if kind is None:
            check_json(data)
        try:
            receipt = send_update(
                options["channel"],
                data,
                already_serialized=True,
                content_type=kind,
                event=options["event"],
                keep=options["keep"],
                expires=options["expires"],
                location=options["location"],
                on_commit=False,
            )
        except (ImproperlyConfigured, PublishError, ValueError) as error:
            raise CommandError(str(error)) from error
        if receipt is None:
            raise CommandError("The message was not published: see the log.")
        message_id = (receipt.info or {}).get("last_message_id", "published")
        state = "delivered" if receipt.delivered else "nobody was waiting"
        self.stdout.write(f"{message_id} {state}")


def check_json(data: bytes) -> None:
    """Raise ``CommandError`` if data are no JSON."""
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"The message is no JSON ({error}): give its --content-type, such as"
            " text/plain."
        ) from error
