"""The base class of nginx configurations: the frame, and Django as an upstream."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil
from urllib.parse import urlsplit

from django.conf import settings

from pushserver.conf import (
    Location,
    MonitoringLocation,
    PublisherLocation,
    PushServerSettings,
    SubscriberLocation,
)

from .limits import ClientLimits
from .static_files import write_static_files
from .writer import Untranslatable, Writer, literal, quote, translate

#: Seconds by which nginx waits longer than 'timeout', so that the server ends the poll.
MARGIN = 10

#: How long nginx keeps an idle connection to an upstream server.
KEPT = "1s"

#: A timeout that means "for ever"; in nginx a timeout of 0 would end a request at once.
FOR_EVER = "365d"


@dataclass(frozen=True)
class Options:
    """Options of the configuration that are not in the settings.

    Attributes:
        listen: The addresses on which nginx listens; empty for the default.
        django: The address of the site, as nginx's ``server`` takes it.
        pushserver: The address at which Daphne serves the push locations, None for the
            default.
        more_django: The addresses of further processes that serve the site.
        more_pushserver: The same for the push locations.
        user: The user that nginx's workers run as.
        workers: The number of nginx's workers, or ``auto``.
        run_dir: The directory of nginx's process id and sockets.
        log_dir: The directory of nginx's logs.
    """

    listen: tuple[str, ...] = ()
    django: str = "127.0.0.1:8000"
    pushserver: str | None = None
    more_django: tuple[str, ...] = ()
    more_pushserver: tuple[str, ...] = ()
    user: str = "www-data"
    workers: str = "auto"
    run_dir: str = "/run"
    log_dir: str = "/var/log/nginx"


class Configuration(ABC):
    """Writes a complete configuration. Each object writes one.

    Args:
        conf: The settings.
        options: Options that are not in the settings.
    """

    #: The first comment of the configuration.
    title = ""

    def __init__(self, conf: PushServerSettings, options: Options) -> None:
        self.conf = conf
        self.options = options
        self.out = Writer()
        self.limits = ClientLimits(self.out, conf)

    def write(self) -> str:
        """Return the text. ``out.warnings`` names settings that nginx cannot follow."""
        out, options = self.out, self.options
        out.comment(self.title)
        out.comment(
            "Printed by 'manage.py pushserver_nginx' from PUSH_SERVER: print it again"
            " when the settings change, test it with 'nginx -t', and reload."
        )
        out.line("")
        self.write_modules()
        out.line(
            f"user {literal(options.user)};",
            f"worker_processes {literal(options.workers)};",
            f"pid {literal(options.run_dir + '/nginx.pid')};",
            f"error_log {literal(options.log_dir + '/error.log')};",
            "",
        )
        out.comment(
            "Each waiting client needs connections, and each connection an open file."
        )
        out.line("worker_rlimit_nofile 65536;")
        with out.block("events"):
            out.line("worker_connections 32768;")
        out.line("")
        with out.block("http"):
            out.line(f"access_log {literal(options.log_dir + '/access.log')};", "")
            self.write_upstreams()
            out.comment(
                "WebSockets of the site are passed on; other connections are kept open."
            )
            with out.block("map $http_upgrade $push_connection"):
                out.line("default upgrade;", '"" "";')
            out.line("")
            self.limits.write_timeouts_and_zones()
            self.write_settings()
            with out.block("server"):
                self.write_server()
            self.write_private_servers()
        return str(out)

    # The parts that differ between configurations

    def write_modules(self) -> None:  # noqa: B027
        """Write the directives that load modules."""

    def write_settings(self) -> None:  # noqa: B027
        """Write the directives for all servers."""

    def write_private_servers(self) -> None:  # noqa: B027
        """Write the servers that only nginx itself sends requests to."""

    def default_listen(self) -> list[str]:
        """Return the addresses to listen on by default."""
        return ["80"]

    @abstractmethod
    def write_publisher(self, place: str, location: PublisherLocation) -> None:
        """Write a publisher location."""

    @abstractmethod
    def write_subscriber(self, place: str, location: SubscriberLocation) -> None:
        """Write a subscriber location."""

    # The parts that are the same

    def write_upstreams(self) -> None:
        """Write the servers behind nginx."""
        options = self.options
        self.write_upstream("django", options.django, *options.more_django)

    def write_upstream(self, name: str, *servers: str) -> None:
        """Write an upstream, with connections that are kept open.

        Args:
            name: Its name.
            servers: The addresses of its processes.
        """
        with self.out.block(f"upstream {name}"):
            options = ""
            if len(servers) > 1:
                # nginx uses a server that has failed again only when one request to it
                # has ended, and held ones do not.
                self.out.comment(
                    "What a process does not accept goes to the next one. None is left"
                    " out because of it: it would get one request in 10 seconds until"
                    " one has ended, and those of subscribers are held."
                )
                options = " max_fails=0"
            self.out.line(
                *(f"server {literal(each)}{options};" for each in servers),
                "keepalive 32;",
            )
            # A POST on a connection that the server closes at this moment is a 502:
            # nginx does not repeat it.
            self.out.comment(
                "Shorter than the keep-alive timeout of the server: gunicorn 2 s,"
                " uvicorn 5 s."
            )
            self.out.line(f"keepalive_timeout {KEPT};")
        self.out.line("")

    def write_server(self) -> None:
        """Write the contents of the public server."""
        out = self.out
        for address in self.options.listen or self.default_listen():
            out.line(f"listen {literal(address)};")
        host = self.conf.subscriber_host
        name = urlsplit(host.url).hostname if host else None
        out.line(f"server_name {literal(name) if name else '_'};", "")
        out.comment(
            ">>> TLS: put the certificate here, and have port 80 redirect to this."
        )
        out.line(
            "# listen 443 ssl http2;",
            "# listen [::]:443 ssl http2;",
            "# ssl_certificate     /etc/ssl/certs/site.pem;",
            "# ssl_certificate_key /etc/ssl/private/site.key;",
        )
        out.comment("<<< TLS")
        out.line("")
        out.comment("A channel id may hold two slashes in a row.")
        out.line("merge_slashes off;")
        self.write_locations()
        self.limits.write_refusal()
        write_static_files(out)
        out.line("")
        out.comment("Everything else is served by Django.")
        with out.block("location /"):
            out.line("proxy_pass http://django;", *self.upgrade_proxy_headers())

    def upgrade_proxy_headers(self) -> list[str]:
        """Return the headers that pass on WebSockets, and keep other connections."""
        return [
            "proxy_set_header Upgrade $http_upgrade;",
            "proxy_set_header Connection $push_connection;",
            *self.proxy_headers(),
        ]

    def write_locations(self) -> None:
        """Write the locations in their order, in which nginx tries their patterns."""
        for index, location in enumerate(self.conf.locations):
            place = f"PUSH_SERVER['locations'][{index}]"
            self.out.line("")
            self.out.comment(f"{place}: {location.type}, {location.url.pattern}")
            try:
                self.pattern(location)
            except Untranslatable as error:
                self.out.warn(f"{place}['url']", f"is left out: {error}.")
            else:
                self.write_location(place, location)

    def write_location(self, place: str, location: Location) -> None:
        """Write a location of ``PUSH_SERVER``, by its type."""
        if isinstance(location, PublisherLocation):
            self.write_publisher(place, location)
        elif isinstance(location, SubscriberLocation):
            self.write_subscriber(place, location)
        elif isinstance(location, MonitoringLocation):
            self.write_monitoring(place, location)

    @abstractmethod
    def write_monitoring(self, place: str, location: MonitoringLocation) -> None:
        """Write a location that shows how a process is."""

    def is_served(self, location: Location) -> bool:
        """Return whether nginx can match the URLs of a location."""
        try:
            self.pattern(location)
        except Untranslatable:
            return False
        return True

    @contextmanager
    def location(self, location: Location, prefix: str = "") -> Iterator[None]:
        """Write a block for the URLs of a location, below a prefix."""
        with self.out.block(f"location ~ {self.pattern(location, prefix)}"):
            yield

    def pattern(self, location: Location, prefix: str = "") -> str:
        """Return the quoted pattern of a location, whose one group is ``$1``."""
        # Clients use URLs below FORCE_SCRIPT_NAME, publishers on this machine need not.
        root = (settings.FORCE_SCRIPT_NAME or "").rstrip("/")
        prefix += f"(?:{re.escape(root)})?" if root else ""
        return quote(f"^{prefix}{translate(location.url.pattern)}$")

    def write_access(self, place: str, location: PublisherLocation) -> None:
        """Write the addresses that may publish."""
        if location.allow_from is None:
            self.out.comment("'allow_from': 'any'. Everybody may publish here.")
            return
        self.out.comment("'allow_from'")
        for network in location.allow_from:
            if "%" in str(network):
                self.out.warn(
                    f"{place}['allow_from']",
                    f"holds {network}, which is left out: nginx knows no interfaces.",
                )
                continue
            single = network.prefixlen == network.max_prefixlen
            self.out.line(f"allow {network.network_address if single else network};")
        if location.allow_from.unix:
            self.out.line("allow unix:;")
        self.out.line("deny all;")

    def write_body_limit(self, location: PublisherLocation) -> None:
        """Write the largest size of a message."""
        self.out.comment(
            "'max_message_size'; in memory, not in a file for each message"
        )
        size = location.max_message_size
        self.out.line(
            f"client_max_body_size {size};",
            f"client_body_buffer_size {min(max(size, 1024), 1_048_576)};",
        )

    def keepalive_proxy_headers(self) -> list[str]:
        """Return the proxy headers, for a connection that is kept open."""
        return ['proxy_set_header Connection "";', *self.proxy_headers()]

    def proxy_headers(self) -> list[str]:
        """Return the directives that pass on the client's host, address and scheme."""
        return [
            "proxy_http_version 1.1;",
            "proxy_set_header Host $http_host;",
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
            "proxy_set_header X-Forwarded-Proto $scheme;",
            # Daphne accepts it from any client, and would change the path by it.
            'proxy_set_header Daphne-Root-Path "";',
        ]

    def read_timeout(self, location: SubscriberLocation) -> str:
        """Return how long nginx waits for the answer to a poll."""
        return f"{ceil(location.timeout) + MARGIN}s" if location.timeout else FOR_EVER


def join_host_port(address: str, port: int) -> str:
    """Return ``host:port``, with an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def host_of(address: str) -> str:
    """Return the host of ``host:port``, with 127.0.0.1 for localhost."""
    name = address.rpartition(":")[0].strip("[]") or address
    return "127.0.0.1" if name == "localhost" else name


def is_loopback(address: str) -> bool:
    """Return whether ``host:port`` is a loopback address."""
    try:
        return ip_address(host_of(address)).is_loopback
    except ValueError:
        return False
