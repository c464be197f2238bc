"""``manage.py pushserver_channels``: list the channels of a store."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pushserver.listing import ListingError, list_channels
from pushserver.terminal import escape

LINE = "{:>8}  {:>9}  {:<16}  {}"


class Command(BaseCommand):
    """Prints a line about each channel."""

    help = (
        "Lists the channels whose ids contain a text: how many messages each keeps, how"
        " many processes have subscribers there, and the id of its last message. The"
        " store has to be in Redis."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "search", nargs="?", default="", help="A part of the ids, in any case."
        )
        parser.add_argument(
            "--limit",
            type=int,
            default=100,
            metavar="N",
            help="The most channels, the first by their ids. Defaults to %(default)s.",
        )
        parser.add_argument("--store", metavar="NAME", help="The name of the store.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            listing = list_channels(
                options["search"], options["limit"], options["store"]
            )
        except (ImproperlyConfigured, ListingError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(LINE.format("messages", "processes", "last id", "channel"))
        for each in listing.channels:
            last_id = "-" if each.last_message_id == "0:0" else each.last_message_id
            self.stdout.write(
                LINE.format(
                    each.messages, each.listening, last_id, escape(each.channel_id)
                )
            )
        if len(listing.channels) < listing.total:
            self.stderr.write(
                f"The first {len(listing.channels)} of {listing.total:,} channels."
            )
