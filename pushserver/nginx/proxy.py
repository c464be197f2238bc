"""The configuration of nginx in front of Daphne."""

from __future__ import annotations

from pushserver.addresses import contains
from pushserver.conf import (
    MetricsLocation,
    MonitoringLocation,
    PublisherLocation,
    SubscriberLocation,
)

from .configuration import Configuration, host_of, is_loopback, join_host_port


class ProxyConfiguration(Configuration):
    """nginx passes requests to the push locations on to Daphne."""

    title = "nginx in front of Daphne, which serves the push locations."

    def write_upstreams(self) -> None:
        if self.pushserver != self.options.django:
            more = self.options.more_pushserver
            self.write_upstream("pushserver", self.pushserver, *more)
        super().write_upstreams()

    @property
    def pushserver(self) -> str:
        """The address of the push locations, by option, settings, or as the site's."""
        conf, options = self.conf, self.options
        if options.pushserver:
            return options.pushserver
        if conf.publisher_host and is_loopback(conf.publisher_host.location):
            return conf.publisher_host.location
        if conf.port:
            return join_host_port(conf.address or "127.0.0.1", conf.port)
        return options.django

    def write_settings(self) -> None:
        """Write a warning if the push server does not believe the addresses of nginx.

        By default it needs them not: nginx limits public clients itself.
        """
        if not self.conf.max_held_per_client:
            return
        trusted, server = self.conf.trusted_proxies, self.pushserver
        if server.startswith("unix:"):
            missing = None if trusted.unix else "'unix'"
        else:
            address = host_of(server)
            is_known = contains(trusted, address) or not is_loopback(server)
            missing = None if is_known else address
        if missing is not None:
            effect = (
                "its clients have no limit there"
                if server.startswith("unix:")
                else "all of its clients count as one there"
            )
            self.out.warn(
                "PUSH_SERVER['trusted_proxies']",
                f"does not hold {missing}, so Daphne does not believe which clients"
                f" this nginx forwards, and {effect}.",
            )

    def write_publisher(self, place: str, location: PublisherLocation) -> None:
        self.write_proxy_warning(place, location)
        with self.location(location):
            if location.signed:
                self.out.comment("'signed': the push server decides who may publish.")
            else:
                self.write_access(place, location)
            self.write_body_limit(location)
            self.write_pass()

    def write_proxy_warning(self, place: str, location: PublisherLocation) -> None:
        """Write a warning if Daphne will refuse publishers that nginx allows."""
        if location.allow_from is None:
            return
        address = host_of(self.pushserver)
        if self.pushserver.startswith("unix:"):
            if not location.allow_from.unix:
                self.out.warn(
                    f"{place}['allow_from']",
                    "does not hold 'unix', so Daphne refuses all that nginx passes on"
                    " to its unix socket.",
                )
        elif is_loopback(self.pushserver) and not contains(
            location.allow_from, address
        ):
            self.out.warn(
                f"{place}['allow_from']",
                f"does not hold {address}, so Daphne refuses all that nginx passes on.",
            )

    def write_subscriber(self, place: str, location: SubscriberLocation) -> None:
        with self.location(location):
            if location.signed:
                self.out.comment("Tokens in URLs must not stand in a log.")
                self.out.line("access_log off;")
            self.limits.write_subscriber(location)
            self.write_pass(upgrades="websocket" in location.allowed)
            self.out.comment("Longer than 'timeout', after which Daphne ends the poll.")
            self.out.line(f"proxy_read_timeout {self.read_timeout(location)};")

    def write_monitoring(self, place: str, location: MonitoringLocation) -> None:
        if isinstance(location, MetricsLocation):
            self.out.comment("Prometheus reads each process at its own address.")
            with self.location(location):
                self.out.line("return 404;")
            return
        with self.location(location):
            self.write_pass()

    def write_pass(self, *, upgrades: bool = False) -> None:
        """Write the directives that pass requests on, without buffering or caching.

        Args:
            upgrades: Whether to pass on upgrades to WebSocket, too.
        """
        same = self.pushserver == self.options.django
        self.out.line(
            f"proxy_pass http://{'django' if same else 'pushserver'};",
            *(
                self.upgrade_proxy_headers()
                if upgrades
                else self.keepalive_proxy_headers()
            ),
        )
        self.out.comment(
            "Send each message at once and unchanged: gzip would drop its Etag."
        )
        self.out.line("proxy_buffering off;", "proxy_cache off;", "gzip off;")
