"""The parts of an nginx configuration that notify the passthrough view."""

from __future__ import annotations

from abc import abstractmethod

from django.conf import settings

from pushserver.addresses import HOP_HEADERS, contains, known_networks
from pushserver.conf import SubscriberLocation

from .configuration import Configuration, host_of, is_loopback
from .writer import literal, quote

#: Seconds for which a request waits for the passthrough view.
HOOK_TIMEOUT = 5


class PassthroughConfiguration(Configuration):
    """A configuration whose subscriber locations may have a passthrough.

    A passthrough needs two more servers, to which only nginx sends requests. Nchan
    never makes its own subscribe and unsubscribe requests for long polls, and makes its
    authorization request only for some; ``post_action`` in an Nchan location crashes
    the worker. So a plain proxy location is placed before the Nchan location. There,
    ``auth_request`` sends the first notification and ``post_action`` the second, always
    both. ``auth_request`` would refuse a subscriber if Django fails, so another server
    makes the forms and answers 204 whatever Django answers.
    """

    @abstractmethod
    def write_nchan(self, location: SubscriberLocation) -> None:
        """Write the directives by which Nchan answers subscribers."""

    @abstractmethod
    def write_methods(self, allowed: str) -> None:
        """Write the refusal of all methods that are not allowed."""

    def write_upstreams(self) -> None:
        super().write_upstreams()
        if self.passthroughs:
            self.write_upstream("pushserver_nchan", self.socket("nchan"))
            self.write_upstream("pushserver_hooks", self.socket("hooks"))

    def socket(self, name: str) -> str:
        """Return the address of the unix socket of a private server."""
        return f"unix:{self.options.run_dir}/pushserver-{name}.sock"

    @property
    def passthroughs(self) -> list[SubscriberLocation]:
        """The locations with a passthrough view."""
        return [
            each
            for each in self.conf.locations
            if isinstance(each, SubscriberLocation)
            and each.passthrough
            and not each.is_guarded
            and self.is_served(each)
        ]

    def write_passthrough_warnings(self) -> None:
        """Write a warning if the passthrough view will refuse requests of nginx."""
        django = self.options.django
        address = host_of(django)
        if django.startswith("unix:"):
            self.out.warn(
                "PUSH_SERVER['locations'] with 'passthrough'",
                "need Django at an address: over a unix socket the passthrough view"
                " cannot recognize requests of nginx, and refuses them.",
            )
        elif is_loopback(django) and not contains(
            known_networks(settings.INTERNAL_IPS), address
        ):
            self.out.warn(
                "INTERNAL_IPS",
                f"does not hold {address}, so the passthrough view refuses nginx.",
            )

    def write_passthrough_proxy(self, location: SubscriberLocation) -> None:
        """Write the plain proxy location before a location with a passthrough."""
        out = self.out
        out.comment(
            "'passthrough': a plain proxy in front of Nchan, because post_action in an"
            " Nchan location crashes the worker, and its own hooks do not report polls."
        )
        with self.location(location):
            self.write_methods("GET, OPTIONS")
            self.limits.write_subscriber(location)
            out.line(
                "proxy_pass http://pushserver_nchan;", *self.upgrade_proxy_headers()
            )
            out.line("proxy_buffering off;", "proxy_cache off;", "gzip off;")
            out.line(f"proxy_read_timeout {self.read_timeout(location)};")
            out.comment("Before the request is held:")
            out.line("auth_request /_pushserver/subscribe;")
            out.comment("After an answer, an error, or when the client has left:")
            out.line("post_action /_pushserver/unsubscribe;")

    def write_locations(self) -> None:
        """Write the locations, and the internal ones that notify the passthrough view.

        The view itself is closed to clients.
        """
        super().write_locations()
        out = self.out
        for event in ("subscribe", "unsubscribe") if self.passthroughs else ():
            out.line("")
            with out.block(f"location = /_pushserver/{event}"):
                # The first letter is percent-encoded; write_hooks_server() says why.
                path = f"%{ord(event[0]):02x}{event[1:]}"
                out.line(
                    "internal;",
                    "if ($request_method != GET) { return 204; }",
                    f"proxy_pass http://pushserver_hooks/{path}$request_uri;",
                    "proxy_method POST;",
                    "proxy_pass_request_body off;",
                    'proxy_set_header Content-Length "";',
                    "proxy_http_version 1.1;",
                    'proxy_set_header Connection "";',
                    "proxy_set_header Host $http_host;",
                    "proxy_set_header X-Forwarded-Proto $scheme;",
                    "proxy_ignore_client_abort on;",
                )
        paths = {(each.passthrough or "").rstrip("/") for each in self.passthroughs}
        for path in sorted(paths - {""}):
            out.line("")
            out.comment("'passthrough': only nginx itself may call the view.")
            for form in (path, f"{path}/"):
                out.line(f"location = {literal(form)} {{ deny all; }}")

    def write_private_servers(self) -> None:
        if not self.passthroughs:
            return
        self.write_nchan_server()
        self.write_hooks_server()

    def write_nchan_server(self) -> None:
        """Write the server with the Nchan locations behind the plain proxy."""
        out = self.out
        out.line("")
        out.comment(
            "The Nchan locations with a passthrough, for requests of nginx itself."
        )
        with out.block("server"):
            out.line(
                f"listen {literal(self.socket('nchan'))};",
                "access_log off;",
                "merge_slashes off;",
            )
            for location in self.passthroughs:
                out.line("")
                with self.location(location):
                    out.line("set $push_channel $1;")
                    self.write_nchan(location)

    def write_hooks_server(self) -> None:
        """Write the server that sends the forms, and answers 204 in any case."""
        out = self.out
        out.line("")
        out.comment(
            "The notifications of Django. nginx encodes the channel id for the form if"
            " the path has a percent sign, so the paths that lead here have one."
            " Whatever Django answers, the answer is 204, because a passthrough view"
            " cannot refuse a subscriber."
        )
        with out.block("server"):
            out.line(
                f"listen {literal(self.socket('hooks'))};",
                "access_log off;",
                "merge_slashes off;",
            )
            for location in self.passthroughs:
                for event in ("subscribe", "unsubscribe"):
                    out.line("")
                    self.write_form(location, event)
            out.line("")
            with out.block("location = /_pushserver/no_content"):
                out.line("internal;", "return 204;")

    def write_form(self, location: SubscriberLocation, event: str) -> None:
        """Write a location that sends the form of an event to the passthrough view.

        Raises :class:`Untranslatable` if the path of the view holds a ``$``.
        """
        out, prefix = self.out, f"/{event}"
        path = location.passthrough or ""
        literal(path)  # It raises the error.
        form = quote(f"{path}?channel_id=$1&{event}=1?")
        with self.location(location, prefix):
            out.line(
                f"rewrite {self.pattern(location, prefix)} {form};",
                "set $push_form $args;",
                'set $args "";',
                "break;",
                "proxy_pass http://django;",
                "proxy_http_version 1.1;",
                'proxy_set_header Connection "";',
                "proxy_method POST;",
                "proxy_set_body $push_form;",
                "proxy_set_header Content-Type application/x-www-form-urlencoded;",
                "proxy_set_header Host $http_host;",
                'proxy_set_header Daphne-Root-Path "";',
            )
            out.comment("The view accepts nginx's own address, without the client's.")
            out.line(
                *(f'proxy_set_header {name} "";' for name in HOP_HEADERS),
                # Without the page's origin, which may be another site's: the view would
                # refuse it.
                'proxy_set_header Origin "";',
                'proxy_set_header Sec-Fetch-Site "";',
            )
            out.line(
                f"proxy_connect_timeout {HOOK_TIMEOUT}s;",
                f"proxy_read_timeout {HOOK_TIMEOUT}s;",
                "proxy_intercept_errors on;",
                "error_page 301 302 303 307 308 400 401 403 404 405 408 413 429 500 501"
                " 502 503 504 =204 /_pushserver/no_content;",
            )
