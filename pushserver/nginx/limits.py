"""The limits on what one client can use, in an nginx configuration."""

from __future__ import annotations

from pushserver.conf import PushServerSettings, SubscriberLocation
from pushserver.conf.limits import MAX_HELD_PER_CLIENT

from .writer import Untranslatable, Writer, literal

#: Within how many seconds the head of a request must arrive.
HEADER_TIMEOUT = 10

#: Seconds without a part of a body after which a connection is closed.
BODY_TIMEOUT = 30

#: The most bytes of the body of a request that subscribes.
MAX_SUBSCRIBER_BODY = 1024

#: Seconds after which a client that was refused is asked to come back.
RETRY_AFTER = 5

#: Networks that no public client is in. The default limit leaves their addresses out,
#: because one of them may be a proxy with all clients behind it.
PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)

_REFUSED = "/_pushserver/refused"
_UNAVAILABLE = "/_pushserver/unavailable"


class ClientLimits:
    """Writes the limits of one client. The servers of a configuration share them.

    Args:
        out: Collects the lines.
        conf: The settings.
    """

    def __init__(self, out: Writer, conf: PushServerSettings) -> None:
        self._out = out
        self._conf = conf
        self._has_refusals = False
        self._is_default = conf.max_held_per_client is None
        self._limit = conf.max_held_per_client
        if self._limit is None:
            self._limit = MAX_HELD_PER_CLIENT

    def write_timeouts_and_zones(self) -> None:
        """Write the directives of the ``http`` block."""
        out = self._out
        out.comment("Requests that arrive byte by byte are ended.")
        out.line(
            f"client_header_timeout {HEADER_TIMEOUT}s;",
            f"client_body_timeout {BODY_TIMEOUT}s;",
            "",
        )
        if not self._limit:
            return
        out.comment(
            "'max_held_per_client': clients by address, or by the /64 network of IPv6."
            " If another proxy is in front of this nginx, name it by set_real_ip_from"
            " and real_ip_header, or all of its clients count as one."
        )
        if self._is_default:
            self._write_private()
        variable = "$binary_remote_addr"
        start = ""
        if self._is_default:
            variable, start = f'"$push_is_private{variable}"', "0"
        with out.block(f"map {variable} $push_client"):
            if self._is_default:
                out.line('"~^1" "";')
            mapped = r"\x00{10}\xff\xff"
            out.line(
                f'"~(?s)^{start}{mapped}(?<push_address>.{{4}})$" $push_address;',
                f'"~(?s)^{start}(?<push_network>.{{8}}).{{8}}$" $push_network;',
                "default $binary_remote_addr;",
            )
        with out.block("map $http_accept $push_over_limit"):
            out.line(
                f'"~*text/event-stream" {_UNAVAILABLE};',
                f"default {_REFUSED};",
            )
        for location in self._conf.locations:
            if isinstance(location, SubscriberLocation) and location.allow_origin:
                self._write_origins(location)
        rate = self._limit
        out.line(
            "limit_conn_zone $push_client zone=push_held:10m;",
            f"limit_req_zone $push_client zone=push_requests:10m rate={rate}r/s;",
            "",
        )

    def _write_private(self) -> None:
        out = self._out
        out.comment("By default without private addresses, which may be proxies.")
        with out.block("geo $push_is_private"):
            out.line("default 0;", *(f"{each} 1;" for each in PRIVATE_NETWORKS))

    def _write_origins(self, location: SubscriberLocation) -> None:
        """Write a map of the origins whose pages may read a refusal."""
        out = self._out
        with out.block(f"map $http_origin ${self._origin_variable(location)}"):
            for each in location.allow_origin:
                try:
                    # With * any site may read it; it must then be named so.
                    key = "default" if each == "*" else literal(each)
                    out.line(f"{key} {literal(each)};")
                except Untranslatable as error:
                    out.warn("'allow_origin'", f"is left out: {error}.")

    def _origin_variable(self, location: SubscriberLocation) -> str:
        return f"push_origin_{self._conf.locations.index(location)}"

    def write_subscriber(self, location: SubscriberLocation) -> None:
        """Write the directives of a subscriber location."""
        out = self._out
        out.comment("A request that subscribes has no use for a body.")
        out.line(f"client_max_body_size {MAX_SUBSCRIBER_BODY};")
        if not self._limit:
            return
        self._has_refusals = True
        out.comment("'max_held_per_client', and as many requests a second")
        out.line(
            f"limit_conn push_held {self._limit};",
            f"limit_req zone=push_requests burst={self._limit} nodelay;",
            "limit_conn_status 429;",
            "limit_req_status 429;",
            "error_page 429 = $push_over_limit;",
        )
        origin = credentials = '""'
        if location.allow_origin:
            origin = f"${self._origin_variable(location)}"
            credentials = "true" if location.allow_credentials else credentials
        out.line(f"set $push_origin {origin};", f"set $push_credentials {credentials};")

    def write_refusal(self) -> None:
        """Write the locations that answer a client over its limit, if any can be."""
        if not self._has_refusals:
            return
        out = self._out
        headers = (
            "add_header X-Content-Type-Options nosniff always;",
            "add_header Cache-Control no-cache always;",
            # Pages of other origins could not read it, and an EventSource would end.
            "add_header Access-Control-Allow-Origin $push_origin always;",
            "add_header Access-Control-Allow-Credentials $push_credentials always;",
            "add_header Access-Control-Expose-Headers Retry-After always;",
            "add_header Vary Origin always;",
        )
        out.line("")
        out.comment("A client over its limit.")
        with out.block(f"location = {_REFUSED}"):
            out.line(
                "internal;",
                *headers,
                f"add_header Retry-After {RETRY_AFTER} always;",
                "default_type text/plain;",
                r'return 429 "Your address has too many subscriptions open here;'
                r' try again later.\n";',
            )
        event = (
            rf"retry: {RETRY_AFTER * 1000}\nevent: push-unavailable\n"
            rf"data: {{\"retry_after\": {RETRY_AFTER}}}\n\n"
        )
        out.line("")
        out.comment("An EventSource would not return after any other status than 200.")
        with out.block(f"location = {_UNAVAILABLE}"):
            out.line(
                "internal;",
                *headers,
                "default_type text/event-stream;",
                f'return 200 "{event}";',
            )
