"""``manage.py pushserver_nginx``: print an nginx configuration for ``PUSH_SERVER``."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pushserver.conf import get_settings
from pushserver.nginx import NchanConfiguration, Options, ProxyConfiguration
from pushserver.nginx.writer import Untranslatable


class Command(BaseCommand):
    """Prints the configuration, and warnings about it to stderr."""

    help = (
        "Prints an nginx configuration in which Nchan serves the push locations or,"
        " with --proxy, nginx passes them on to Daphne."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--proxy",
            action="store_true",
            help="Configure nginx in front of Daphne instead of nginx with Nchan.",
        )
        parser.add_argument(
            "--listen",
            action="append",
            metavar="ADDRESS",
            help=(
                "Where nginx listens. Defaults to 80 and, with Nchan, also to where"
                " updates are sent on this machine."
            ),
        )
        parser.add_argument(
            "--django",
            action="append",
            metavar="ADDRESS",
            help=(
                "Where the site is served; repeat it for each of several processes."
                f" Defaults to {Options.django}."
            ),
        )
        parser.add_argument(
            "--pushserver",
            action="append",
            metavar="ADDRESS",
            help=(
                "With --proxy, where the push locations are served; repeat it for each"
                " of several processes. Defaults to the address in the settings, or to"
                " --django."
            ),
        )
        parser.add_argument(
            "--user",
            default=Options.user,
            help="The user that nginx's workers run as. Defaults to %(default)s.",
        )
        parser.add_argument(
            "--workers",
            default=Options.workers,
            help="The number of nginx's workers. Defaults to %(default)s.",
        )
        parser.add_argument(
            "--run-dir",
            default=Options.run_dir,
            help=(
                "The directory of nginx's process id and sockets. Defaults to"
                " %(default)s."
            ),
        )
        parser.add_argument(
            "--log-dir",
            default=Options.log_dir,
            help="The directory of nginx's logs. Defaults to %(default)s.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        django, *more_django = options["django"] or [Options.django]
        pushserver, *more_pushserver = options["pushserver"] or [None]
        chosen = Options(
            listen=tuple(options["listen"] or ()),
            django=django,
            pushserver=pushserver,
            more_django=tuple(more_django),
            more_pushserver=tuple(more_pushserver),
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
