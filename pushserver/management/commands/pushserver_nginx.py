"""``manage.py pushserver_nginx``: an nginx configuration from ``PUSH_SERVER``."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pushserver.conf import get_settings
from pushserver.nginx import NchanConfiguration, Options, ProxyConfiguration
from pushserver.nginx.writer import Untranslatable


class Command(BaseCommand):
    """Prints the configuration; what it cannot do goes to stderr."""

    help = (
        "Prints an nginx configuration for the push locations: served by Nchan, or,"
        " with --proxy, passed on to Daphne."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--proxy",
            action="store_true",
            help="nginx in front of Daphne, instead of nginx with Nchan.",
        )
        parser.add_argument(
            "--listen",
            action="append",
            metavar="ADDRESS",
            help="Where nginx listens (80; with Nchan also where updates are sent to).",
        )
        parser.add_argument(
            "--django",
            default=Options.django,
            metavar="ADDRESS",
            help="Where the site is served (%(default)s).",
        )
        parser.add_argument(
            "--pushserver",
            metavar="ADDRESS",
            help="With --proxy, where the push locations are served, if not there.",
        )
        parser.add_argument(
            "--user",
            default=Options.user,
            help="Whom nginx's workers run as (%(default)s).",
        )
        parser.add_argument(
            "--workers",
            default=Options.workers,
            help="How many workers nginx has (%(default)s).",
        )
        parser.add_argument(
            "--run-dir",
            default=Options.run_dir,
            help="Where nginx has its process id and sockets (%(default)s).",
        )
        parser.add_argument(
            "--log-dir",
            default=Options.log_dir,
            help="Where nginx writes its logs (%(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = Options(
            listen=tuple(options["listen"] or ()),
            django=options["django"],
            pushserver=options["pushserver"],
            user=options["user"],
            workers=options["workers"],
            run_dir=options["run_dir"],
            log_dir=options["log_dir"],
        )
        kind = ProxyConfiguration if options["proxy"] else NchanConfiguration
        try:
            configuration = kind(get_settings(), chosen)
            text = configuration.write()
        except (ImproperlyConfigured, Untranslatable) as error:
            raise CommandError(str(error)) from error
        for warning in configuration.out.warnings:
            self.stderr.write(self.style.WARNING(f"Warning: {warning}"))
        self.stdout.write(text, ending="")
