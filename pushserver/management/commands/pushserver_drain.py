"""``manage.py pushserver_drain``: let processes end what they hold, and undo it."""

from __future__ import annotations

import socket
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pushserver.draining import DrainError, drain


class Command(BaseCommand):
    """Lets processes drain, or serve as before."""

    help = (
        "Lets the processes of this machine drain, without stopping them: /ready"
        " answers 503, and what they hold is ended within PUSH_SERVER['drain'] seconds."
        " The processes have to share a store, such as Redis."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--process",
            metavar="NAME",
            default=socket.gethostname(),
            help="A process as the metrics name it, such as web1:4711, or a machine.",
        )
        which.add_argument(
            "--all", action="store_true", help="All processes that share the store."
        )
        parser.add_argument(
            "--undo", action="store_true", help="Let them serve as before."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        process = None if options["all"] else options["process"]
        try:
            count = drain(process, undo=options["undo"])
        except (DrainError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        if count == 0:
            raise CommandError(
                "No process has read it. A process reads it if PUSH_SERVER['drain'] is"
                " set for it, and from its first request on."
            )
        if count is not None:
            self.stdout.write(f"Processes that have read it: {count}.")
        who = "Each of them" if process is None else process
        does = "serves as before" if options["undo"] else "drains"
        self.stdout.write(f"{who} {does}.")
