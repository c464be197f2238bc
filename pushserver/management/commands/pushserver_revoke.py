"""``manage.py pushserver_revoke``: end the right to listen to channels."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pushserver.access import RevocationError, revoke


class Command(BaseCommand):
    """Revokes rights to listen, of a user, of a session, on a channel."""

    help = (
        "Ends the held requests and streams of a user, of a session or of a channel,"
        " and refuses the tokens that were issued for them so far. All given options"
        " must apply. The store of the channels has to be shared, such as Redis."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", metavar="PK", help="The primary key of a user.")
        parser.add_argument("--channel", metavar="ID", help="The id of a channel.")
        parser.add_argument("--session", metavar="KEY", help="The key of a session.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            revoke(
                user=options["user"],
                channel_id=options["channel"],
                session=options["session"],
            )
        except (ImproperlyConfigured, RevocationError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("Revoked.")
