"""``manage.py runpushserver``: serve the push locations or the site on Daphne."""

from __future__ import annotations

import re
import socket
import sys
from argparse import ArgumentParser
from ipaddress import AddressValueError, IPv6Address
from typing import Any

import daphne
from daphne.access import AccessLogGenerator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands.runserver import naiveip_re

from pushserver import __version__
from pushserver.channel_urls import DEFAULT_ADDRESS, DEFAULT_PORT
from pushserver.conf import get_settings
from pushserver_channels.routing import PushApplication, get_application
from pushserver_channels.server.applications import ForceHost, not_found
from pushserver_channels.server.bodies import BodyLimits
from pushserver_channels.server.collector import tune_collector
from pushserver_channels.server.daphne import BACKLOG, Server
from pushserver_channels.types import Application

DEFAULT_PORT_OF_SITE = 8000
DEFAULT_ADDRESS_IPV6 = "::1"


class Command(BaseCommand):
    """Serves the push locations; by default nothing else."""

    help = "Starts a push server on Daphne."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "addrport", nargs="?", default="", help="Optional port, or address:port."
        )
        parser.add_argument(
            "-6", "--ipv6", action="store_true", help="Listen on an IPv6 address."
        )
        parser.add_argument(
            "--allrequests",
            action="store_true",
            help="Serve the whole site, not only the push locations.",
        )
        parser.add_argument(
            "--forcehost",
            metavar="HOST",
            help="Redirect requests for other hosts to this one (with --allrequests).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["forcehost"] and not options["allrequests"]:
            raise CommandError("--forcehost can only be used with --allrequests.")
        try:
            push_application = _get_push_application(options["allrequests"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        application: Application = push_application
        if options["forcehost"]:
            application = ForceHost(application, options["forcehost"])
        address, port = _get_address(**options)
        shown = f"[{address}]" if ":" in address else address
        quit_command = "CTRL-BREAK" if sys.platform == "win32" else "CONTROL-C"
        self.stdout.write(
            f"Django version {self.get_version()},"
            f" using settings {settings.SETTINGS_MODULE!r}\n"
            f"Push server version {__version__}"
            f" on Daphne version {daphne.__version__}\n"
            f"Development push server is running at http://{shown}:{port}/\n"
            f"Quit the server with {quit_command}.\n"
        )
        self.stdout.flush()
        interface = address.replace(":", r"\:")
        server = Server(
            application,
            endpoints=[f"tcp:port={port}:interface={interface}:backlog={BACKLOG}"],
            action_logger=(
                AccessLogGenerator(sys.stdout) if options["verbosity"] > 0 else None
            ),
            ready_callable=tune_collector,
            server_name=get_settings().servername or "daphne",
            find_limit=BodyLimits(
                push_application.find_location, others=options["allrequests"]
            ),
        )
        server.run()
        if server.abort_start:
            raise CommandError(
                f"Cannot listen on {shown}:{port}. Is the port taken by another server?"
            )


def _get_push_application(allrequests: bool) -> PushApplication:
    """Return the application to serve: the push locations, with or without the site."""
    django_application: Application = get_asgi_application()
    if not allrequests:
        return PushApplication(django_application, otherwise=not_found)
    return get_application(django_application)


def _get_address(
    *, addrport: str, ipv6: bool, allrequests: bool, **options: Any
) -> tuple[str, int]:
    """Return the address and port from the argument, the settings, or the defaults."""
    conf = get_settings()
    address = conf.address or ""
    port = conf.port or (DEFAULT_PORT_OF_SITE if allrequests else DEFAULT_PORT)
    if addrport:
        match = re.match(naiveip_re, addrport)
        if match is None:
            raise CommandError(f"{addrport!r} is not a port or an address:port.")
        address = (match["addr"] or address).strip("[]")
        port = int(match["port"])
        if match["fqdn"] is None and match["addr"] and ipv6 and not _is_ipv6(address):
            raise CommandError(f"{address!r} is not an IPv6 address.")
    if not 0 < port < 65536:
        raise CommandError(f"{port} is not a port: it must be from 1 to 65535.")
    if ipv6 and not _is_ipv6(address):
        address = DEFAULT_ADDRESS_IPV6
    if _is_ipv6(address) and not socket.has_ipv6:
        raise CommandError("This Python does not support IPv6.")
    return address or DEFAULT_ADDRESS, port


def _is_ipv6(address: str) -> bool:
    try:
        IPv6Address(address)
    except AddressValueError:
        return False
    return True
