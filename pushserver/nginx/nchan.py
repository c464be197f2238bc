"""The configuration of nginx with Nchan, which replaces the push server."""

from __future__ import annotations

import re
from math import ceil

from pushserver.channel_urls import DEFAULT_ADDRESS, DEFAULT_PORT
from pushserver.conf import (
    MonitoringLocation,
    PublisherLocation,
    StoreSettings,
    SubscriberLocation,
)

from .configuration import is_loopback, join_host_port
from .guarded import GuardedConfiguration
from .listening import is_listening_at
from .origins import write_origin_map, write_origin_refusal
from .passthrough import PassthroughConfiguration
from .writer import Untranslatable, literal, may_match_otherwise

#: The most messages that Nchan can keep per channel; 0 would keep none.
MAX_BUFFER_LENGTH = 2_147_483_647

#: Longer than any channel id, because nginx accepts no path of this length.
MAX_ID_LENGTH = 65536

#: Browsers must use the Content-Type as given.
NOSNIFF = "add_header X-Content-Type-Options nosniff always;"

#: A message that is opened at its URL must not run scripts in the site's origin.
SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

#: The types in which no browser runs scripts: one media type that is not HTML, XML or
#: multipart.
PASSIVE = (
    "~*^(?!multipart/|message/|[^;]*(html|xml|xsl|svg|xul|rdf|unknown))"
    "[0-9a-z._+-]+/[0-9a-z._+-]+ *(;[^,]*)?$"
)


class NchanConfiguration(PassthroughConfiguration, GuardedConfiguration):
    """Nchan serves the push locations inside nginx."""

    title = "nginx with Nchan in place of the push server."

    def write_modules(self) -> None:
        out = self.out
        out.comment("What Nchan does differently from Daphne, whatever the settings:")
        for difference in (
            "PUT is refused (405), because Nchan would publish its body.",
            "A deleted channel still exists for some seconds.",
            "A malformed id is answered 400, or with the oldest message.",
            "A channel id with an encoded slash (%2F) does not match [^/]+.",
            "There is no Push-Gap, so clients do not notice missed messages.",
            "With several workers, channel info may count too few subscribers.",
            "A restart or a reload of nginx ends all polls; a restart loses messages.",
        ):
            out.comment(f"- {difference}")
        out.line(
            "",
            "# Debian's libnginx-mod-nchan. Leave this line out if something else",
            "# loads the module.",
            "load_module modules/ngx_nchan_module.so;",
        )

    def default_listen(self) -> list[str]:
        """Return port 80, and the address to which this machine publishes."""
        if is_loopback(self.publishing) and self.publishing != self.options.django:
            return ["80", self.publishing.replace("localhost", DEFAULT_ADDRESS)]
        return ["80"]

    @property
    def publishing(self) -> str:
        """The address to which ``send_update`` publishes."""
        conf = self.conf
        if conf.publisher_host:
            return conf.publisher_host.location
        return join_host_port(
            conf.address or DEFAULT_ADDRESS, conf.port or DEFAULT_PORT
        )

    def write_settings(self) -> None:
        out, conf = self.out, self.conf
        out.comment("The memory for all messages.")
        out.line("nchan_shared_memory_size 128M;", "")
        out.comment("Clients that do not receive the Etag read it here.")
        with out.block("map $sent_http_etag $push_cache_control"):
            out.line(
                'default "no-cache, no-transform, etag=$sent_http_etag";',
                '"" no-cache;',
            )
        out.line("")
        out.comment("Messages that a browser would run at their URL are sandboxed.")
        with out.block("map $sent_http_content_type $push_policy"):
            out.line(f'default "{SANDBOX}";', f'"{PASSIVE}" "";')
        out.line("")
        for name, store in conf.store.items():
            place = f"PUSH_SERVER['store'][{name!r}]"
            if len(conf.store) == 1:
                place = "PUSH_SERVER['store']"
            self.write_store_warnings(place, store)
        if conf.max_held:
            out.warn(
                "PUSH_SERVER['max_held']",
                "has no counterpart in Nchan: worker_connections limits all connections"
                " of nginx.",
            )
        if conf.servername:
            out.warn("PUSH_SERVER['servername']", "is nginx's own here.")
        shared = any(store.shared for store in conf.store.values())
        if conf.publisher == "direct" or (conf.publisher == "auto" and shared):
            out.warn(
                "PUSH_SERVER['publisher']",
                f"is {conf.publisher!r}, which does not reach nginx: set it to 'http'.",
            )
        if self.publishing == self.options.django:
            out.warn(
                "PUSH_SERVER['publisher_host']",
                f"is {self.publishing}, where Django is, not nginx: leave it out, and"
                f" nginx listens for publishers on {DEFAULT_ADDRESS}:{DEFAULT_PORT},"
                " or name an address where nginx listens.",
            )
        elif is_loopback(self.publishing) and not is_listening_at(
            self.options.listen or self.default_listen(), self.publishing
        ):
            out.warn(
                "PUSH_SERVER['publisher_host']",
                f"is {self.publishing}{'' if conf.publisher_host else ' by default'},"
                f" where this nginx does not listen: add --listen {self.publishing}, or"
                " name an address where it does.",
            )
        if self.passthroughs:
            self.write_passthrough_warnings()
        self.write_origin_maps()

    def write_monitoring(self, place: str, location: MonitoringLocation) -> None:
        self.out.warn(
            f"{place}['type']",
            f"is {location.type!r}, which Nchan does not have: it is left out, and"
            " Django is asked for its path.",
        )

    def write_origin_maps(self) -> None:
        """Write a map for each publisher location: which pages may not publish."""
        out = self.out
        publishers = [
            each
            for each in self.conf.locations
            if isinstance(each, PublisherLocation) and self.is_served(each)
        ]
        for location in publishers:
            out.comment("Whether the request comes from a page that may not publish.")
            write_origin_map(out, self.origin_variable(location), location)
            out.line("")

    def origin_variable(self, location: PublisherLocation) -> str:
        """Return the name of the variable that is true if a page may not publish."""
        return f"push_page_refused_{self.conf.locations.index(location)}"

    def write_store_warnings(self, place: str, store: StoreSettings) -> None:
        """Write a warning for each setting of a store that Nchan cannot follow."""
        out = self.out
        if store.shared:
            out.warn(
                f"{place}['type']", f"is {store.type!r}; Nchan keeps its own messages."
            )
        if store.min_messages:
            out.warn(f"{place}['min_messages']", "has no counterpart in Nchan.")
        if not store.max_messages:
            out.warn(
                f"{place}['max_messages']",
                f"cannot be without limit in Nchan; it is {MAX_BUFFER_LENGTH}.",
            )
        if store.message_timeout != ceil(store.message_timeout):
            out.warn(f"{place}['message_timeout']", "is rounded up to a whole second.")
        if store.channel_timeout != StoreSettings.channel_timeout:
            out.warn(
                f"{place}['channel_timeout']",
                "has no counterpart in Nchan, which forgets a channel within seconds.",
            )
        if store.max_channels:
            out.warn(f"{place}['max_channels']", "has no counterpart in Nchan.")
        if store.max_empty_channels != StoreSettings.max_empty_channels:
            out.warn(f"{place}['max_empty_channels']", "has no counterpart in Nchan.")
        if store.max_bytes != type(store).max_bytes:
            out.warn(
                f"{place}['max_bytes']",
                "is ignored; nchan_shared_memory_size limits the memory of messages.",
            )

    # Publishers

    def write_publisher(self, place: str, location: PublisherLocation) -> None:
        out = self.out
        self.write_pattern_warning(place, location.url.pattern)
        if not location.create_on_post:
            out.warn(f"{place}['create_on_post']", "is always True in Nchan.")
        if location.signed:
            out.warn(f"{place}['signed']", "is ignored: the address alone decides.")
        with self.location(location):
            out.line("set $push_channel $1;")
            self.write_access(place, location)
            write_origin_refusal(out, self.origin_variable(location))
            self.write_methods("GET, POST, DELETE, OPTIONS")
            self.write_body_limit(location)
            out.line("nchan_publisher http;", NOSNIFF)
            self.write_channel(location)
            self.write_limits(location)

    def write_limits(self, location: PublisherLocation) -> None:
        """Write the message limits, which Nchan reads at the publisher location."""
        out, store = self.out, self.conf.store[location.store]
        if not location.store_messages:
            out.comment("'store_messages': False")
            out.line("nchan_store_messages off;")
            return
        out.comment("'max_messages', 'message_timeout'")
        out.line(
            f"nchan_message_buffer_length {store.max_messages or MAX_BUFFER_LENGTH};",
            f"nchan_message_timeout {ceil(store.message_timeout)}s;",
        )

    def write_methods(self, allowed: str) -> None:
        """Write a block that answers 405 to all methods except the allowed ones."""
        pattern = "|".join(allowed.split(", "))
        self.out.comment(
            "Of other methods, Nchan would answer some with 403 and some not at all."
        )
        with self.out.block(f"if ($request_method !~ ^({pattern})$)"):
            self.out.line(
                f'add_header Allow "{allowed}" always;', NOSNIFF, "return 405;"
            )

    def write_channel(self, location: PublisherLocation | SubscriberLocation) -> None:
        """Write which channel of Nchan a URL names. Each store is a group of Nchan."""
        group = re.sub(r"\W", "_", location.store, flags=re.ASCII)
        if group != location.store:
            # Different names must not become the same group.
            group += f"__{list(self.conf.store).index(location.store)}"
        self.out.line(
            "nchan_channel_id $push_channel;",
            f"nchan_channel_group {group};",
            "nchan_max_channel_id_length"
            f" {location.max_channel_id_length or MAX_ID_LENGTH};",
        )

    def write_pattern_warning(self, place: str, pattern: str) -> None:
        """Write a warning if nginx may match other URLs than Python."""
        if may_match_otherwise(pattern):
            self.out.warn(
                f"{place}['url']",
                "matches text in Python and bytes in nginx: channel ids that are not"
                " ASCII may be matched differently.",
            )

    # Subscribers

    def write_subscriber(self, place: str, location: SubscriberLocation) -> None:
        out = self.out
        self.write_pattern_warning(place, location.url.pattern)
        if location.is_guarded and not self.can_guard(place, location):
            with self.location(location):
                out.line("return 403;")
            return
        if location.event is not None:
            out.warn(
                f"{place}['event']",
                "has no counterpart in Nchan: events have the names that the publisher"
                " gave.",
            )
        if location.polling == "long":
            if location.concurrency != "broadcast":
                out.warn(
                    f"{place}['concurrency']",
                    "is always 'broadcast' in Nchan.",
                )
            if location.timeout and location.timeout_status != 408:
                out.warn(f"{place}['timeout_status']", "is always 408 in Nchan.")
        if location.presence:
            out.warn(
                f"{place}['presence']",
                "is not possible: Nchan does not tell who is on a channel.",
            )
        if not location.create_on_get:
            out.comment("If the channel does not exist, the answer is 403, not 404.")
        if location.passthrough:
            self.write_passthrough_proxy(location)
            return
        with self.location(location):
            out.line("set $push_channel $1;")
            self.write_methods("GET, OPTIONS")
            self.limits.write_subscriber(location)
            if location.is_guarded:
                self.write_guard(location)
            self.write_nchan(location)
        if location.is_guarded:
            self.write_question(location)

    def write_nchan(self, location: SubscriberLocation) -> None:
        """Write the directives by which Nchan answers subscribers."""
        out = self.out
        polls = {"long": "longpoll", "interval": "intervalpoll"}
        kinds = [
            polls[location.polling] if each == "poll" else each
            for each in ("eventsource", "websocket", "poll")
            if each in location.allowed
        ]
        out.line(f"nchan_subscriber {' '.join(kinds)};")
        if "eventsource" in kinds and location.keep_alive:
            out.comment("'keep_alive', by comments as of Daphne")
            out.line(
                f"nchan_eventsource_ping_interval {ceil(location.keep_alive)};",
                'nchan_eventsource_ping_event "";',
                'nchan_eventsource_ping_comment "";',
            )
        if "websocket" in kinds:
            out.line('nchan_websocket_client_heartbeat "ping" "pong";')
        self.write_channel(location)
        if location.separator is not None:
            out.comment("'separator'")
            out.line(f'nchan_channel_id_split_delimiter "{location.separator}";')
        out.line(f"nchan_subscriber_first_message {location.first_message};")
        if location.polling == "long":
            out.comment("'timeout'")
            out.line(f"nchan_subscriber_timeout {ceil(location.timeout)};")
        out.comment("'create_on_get'")
        existing = "off" if location.create_on_get else "on"
        out.line(f"nchan_subscribe_existing_channels_only {existing};")
        self.write_cross_origin(location)
        out.comment("A compressed answer would lose its Etag.")
        out.line("gzip off;", "add_header Cache-Control $push_cache_control;")
        out.line(NOSNIFF)
        if not location.inline:
            out.line("add_header Content-Security-Policy $push_policy;")

    def write_cross_origin(self, location: SubscriberLocation) -> None:
        """Write the CORS headers."""
        out = self.out
        if not location.allow_origin:
            out.comment("No 'allow_origin': pages of this site, and no others.")
            out.line(
                f'nchan_access_control_allow_origin "{self.own_origin(location)}";',
                "nchan_access_control_allow_credentials off;",
            )
            return
        try:
            origins = literal(" ".join(location.allow_origin))
        except Untranslatable as error:
            out.warn("'allow_origin'", f"is left out: {error}.")
            return
        origins = origins.strip('"')
        credentials = "on" if location.allow_credentials else "off"
        out.comment("'allow_origin', 'allow_credentials'")
        has_own = "websocket" in location.allowed and "*" not in location.allow_origin
        if has_own:
            # Browsers send the origin of this site's pages, too, with each WebSocket.
            origins += f" {self.own_origin(location)}"
        out.line(
            f'nchan_access_control_allow_origin "{origins}";',
            f"nchan_access_control_allow_credentials {credentials};",
            # Beside those that Nchan names itself, on a line of its own.
            'add_header Access-Control-Expose-Headers "Cache-Control, Push-Gap,'
            ' Push-Denied, Push-Location, Retry-After, WWW-Authenticate" always;',
            'add_header Access-Control-Allow-Headers "Last-Event-ID, Etag,'
            ' Authorization, X-Cookie";',
            "add_header Access-Control-Max-Age 864000;",
        )
        if has_own or len(location.allow_origin) > 1:
            out.line("add_header Vary Origin;")

    def own_origin(self, location: SubscriberLocation) -> str:
        """Return the origin of this site's pages, with variables of nginx."""
        scheme = "$http_x_forwarded_proto" if location.passthrough else "$scheme"
        return f"{scheme}://$http_host"
