"""Route requests to the push locations, in a site's ASGI application.

Put the push locations before Django::

    application = get_application(get_asgi_application())

or among other consumers::

    URLRouter([path("chat/", ChatConsumer.as_asgi()), *urlpatterns])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from django.urls import Resolver404, re_path
from django.utils.module_loading import import_string

from pushserver.access.authorizing import load_authorize
from pushserver.conf import (
    Location,
    PushServerSettings,
    SubscriberLocation,
    get_settings,
)
from pushserver.paths import (
    MAX_CHANNELS,
    decode_path,
    decode_separated_path,
    match_channel,
    match_channels,
)
from pushserver.presence.names import PREFIX, is_presence_channel

from .access import ReservedChannels, make_guards
from .consumers.base import (
    MAX_SHOWN_PATH,
    Handler,
    MakeConsumer,
    PushConsumer,
    Site,
    answer_request,
)
from .dashboard.of_process import start_responders
from .drains import DrainOrders
from .health import Health
from .held import HeldLimits
from .hub import Observer, hubs
from .memoize import memoize
from .metrics.of_process import Metrics, check_metrics
from .passthrough import Dispatcher, Passthrough
from .presence import LocationPresence
from .shutdown import run_lifespan
from .static_files import serve_static_files
from .stores import check_store
from .types import Application, Receive, Scope, Send

#: Two functions: whether a class of consumers accepts a request, and what makes one.
PreparedConsumer = tuple[Callable[[Scope], bool], MakeConsumer]
#: A location with its consumers of one channel, and of several.
Route = tuple[Location, list[PreparedConsumer], list[PreparedConsumer]]

#: The location that a path matches, its consumers, the channel id or several, and why
#: an id is invalid (None if all are valid).
Match = tuple[Location, list[PreparedConsumer], str | tuple[str, ...], str | None]

#: The most bytes of a path. h11 and granian read no longer ones.
MAX_PATH = 65_536


class PushLocations:
    """An ASGI application that answers requests to the push locations.

    For other requests it raises ``Resolver404``, so that a ``URLRouter`` tries its next
    route. The settings are read at each request, so a change takes effect at once.

    Args:
        get_django_application: Returns the ASGI application that has the passthrough
            views.
    """

    #: Makes URLRouter treat this as a router, whose pattern matches a prefix.
    _path_routing = True

    def __init__(self, get_django_application: Callable[[], Application]) -> None:
        self._get_django_application = get_django_application
        self._settings: PushServerSettings | None = None
        self._routes: list[Route] = []
        self._script_name = ""
        self._find = memoize(max_size=1024)(self._look_up)
        self._dispatcher: Dispatcher | None = None
        self._presence_stores: frozenset[str] = frozenset()

    __call__ = answer_request

    def find(self, scope: Scope) -> Handler:
        """Return a consumer for a request, or raise ``Resolver404``."""
        consumer = self.find_consumer(scope)
        if consumer is None:
            path = scope["path"][:MAX_SHOWN_PATH]
            raise Resolver404(f"No push location matches {path!r}.")
        return consumer

    def find_consumer(self, scope: Scope) -> Handler | None:
        """Return a consumer of the first matching location, None if none matches."""
        match = self._find_match(scope)
        if match is None:
            return None
        _, consumers, channel_id, fault = match
        for accepts, make_consumer in consumers:
            if accepts(scope):
                return make_consumer(channel_id, fault)
        return Refusal()

    def find_location(self, scope: Scope) -> Location | None:
        """Return the first matching location, None if none matches.

        Args:
            scope: Its type and paths are enough; a server may not have parsed the rest.
        """
        match = self._find_match(scope)
        return None if match is None else match[0]

    def _find_match(self, scope: Scope) -> Match | None:
        if scope["type"] not in ("http", "websocket"):
            return None
        settings = get_settings()
        if settings is not self._settings:
            self._routes = self._make_routes(settings)
            self._script_name = django_settings.FORCE_SCRIPT_NAME or ""
            self._settings = settings
            self._find = memoize(max_size=1024)(self._look_up)
        # Cached, because many requests are for the same channels.
        match = self._find(scope["path"], scope.get("raw_path"), scope.get("root_path"))
        if match is None:
            # A view may answer and publish directly, which needs this event loop.
            hubs.serve(scope.get("server"))
        return match

    async def finish(self) -> None:
        """Wait a limited time until the passthrough views have been called.

        A server may exit when its last connection is closed, but the thread of a view
        that waits for the event loop would then keep the process alive for ever.
        """
        if self._dispatcher is not None:
            await self._dispatcher.drain_before_exit()

    def _look_up(
        self, path: str, raw_path: bytes | None, root_path: str | None
    ) -> Match | None:
        """Return the match of a path as the server passes it, None if there is none."""
        raw_path = (raw_path or b"").partition(b"?")[0]
        roots = (self._script_name, root_path or "")
        if len(raw_path) > MAX_PATH:
            # Matched as the server has decoded it, to find the location that refuses
            # it.
            match = self._match(path, b"", roots)
            fault = f"A URL has at most {MAX_PATH} bytes here."
            return match and (match[0], match[1], "", fault)
        return self._match(path, raw_path, roots)

    def _match(
        self, path: str, raw_path: bytes, roots: tuple[str, str]
    ) -> Match | None:
        """Return the match of a path, None if there is none."""
        decoded = _decode(path, raw_path, roots)
        for location, consumers, consumers_of_several in self._routes:
            has_presence = location.store in self._presence_stores
            find_fault = partial(_find_id_fault, location, has_presence)
            separator = getattr(location, "separator", None)
            if separator is None:
                channel_id = match_channel(location.url, decoded)
                if channel_id is not None:
                    if has_presence and is_presence_channel(channel_id):
                        consumers = _reserve(location, consumers)
                    return location, consumers, channel_id, find_fault(channel_id)
                continue
            separated = _decode(path, raw_path, roots, separator)
            channel_ids = match_channels(location.url, separated, separator)
            if channel_ids is None:
                continue
            faults = filter(None, map(find_fault, channel_ids))
            fault = next(faults, None)
            if has_presence and any(map(is_presence_channel, channel_ids)):
                consumers = _reserve(location, consumers)
                consumers_of_several = _reserve(location, consumers_of_several)
            if len(channel_ids) == 1:
                return location, consumers, channel_ids[0], fault
            if len(channel_ids) > MAX_CHANNELS:
                fault = f"A URL names at most {MAX_CHANNELS} channels here."
            return location, consumers_of_several, channel_ids, fault
        return None

    def _make_routes(self, settings: PushServerSettings) -> list[Route]:
        name = settings.servername
        headers = [] if name is None else [(b"server", name.encode())]
        dispatcher: Dispatcher | None = None
        if any(
            isinstance(each, SubscriberLocation) and each.passthrough
            for each in settings.locations
        ):
            dispatcher = Dispatcher(self._get_django_application())
        self._dispatcher = dispatcher

        def observe(location: SubscriberLocation) -> Sequence[Observer]:
            if dispatcher is None or location.passthrough is None:
                return ()
            return (Passthrough(dispatcher, location.passthrough),)

        limits = HeldLimits(settings)
        health = Health(settings.used_stores, limits)
        metrics = Metrics(settings, health, dispatcher)
        presences = {
            id(each): LocationPresence(each)
            for each in settings.locations
            if isinstance(each, SubscriberLocation) and each.presence
        }
        site = Site(
            settings,
            headers,
            observe,
            make_guards(settings),
            limits,
            health,
            metrics.find_sharing,
            lambda location: presences.get(id(location)),
        )
        self._presence_stores = settings.presence_stores
        store = settings.shared_store
        with suppress(RuntimeError):  # No event loop runs yet.
            metrics.start()
            if settings.drain and store is not None:
                DrainOrders(store).follow()
            start_responders(settings, health, metrics)
        return [
            (
                location,
                [_prepare(each, location, site) for each in location.consumers],
                [
                    _prepare(each, location, site)
                    for each in location.consumers_of_several
                ],
            )
            for location in settings.locations
        ]


def _prepare(path: str, location: Location, site: Site) -> PreparedConsumer:
    """Return what decides whether a consumer accepts a request, and what makes one.

    Args:
        path: The dotted path of the class of consumers.
        location: The location.
        site: What all consumers share.
    """
    consumer: type[PushConsumer] = import_string(path)
    return consumer.accepts, consumer.prepare(location, site)


def _reserve(
    location: Location, consumers: list[PreparedConsumer]
) -> list[PreparedConsumer]:
    """Return consumers that refuse presence channels where there is no presence.

    Args:
        location: The location. Another one of its store has presence.
        consumers: Its consumers.
    """
    if not isinstance(location, SubscriberLocation) or location.presence:
        return consumers
    return [(accepts, partial(_make_reserved, make)) for accepts, make in consumers]


def _make_reserved(make: MakeConsumer, channel_id: Any, fault: str | None) -> Handler:
    """Return the consumer of a request that names a presence channel."""
    consumer: Any = make(channel_id, fault)
    consumer.guard = ReservedChannels(consumer.guard)
    handler: Handler = consumer
    return handler


def _find_id_fault(
    location: Location, store_has_presence: bool, channel_id: str
) -> str | None:
    """Return why a channel id is invalid, None if it is valid.

    Args:
        location: The location.
        store_has_presence: Whether another location of its store has presence.
        channel_id: The channel id in a URL.
    """
    if not channel_id:
        return "The URL has no channel id."
    max_length = location.max_channel_id_length
    if store_has_presence and is_presence_channel(channel_id):
        max_length = max_length and max_length + len(PREFIX)
    if 0 < max_length < len(channel_id):
        return f"A channel id has at most {max_length} characters here."
    try:
        channel_id.encode()
    except UnicodeEncodeError:
        return "The channel id in the URL is not UTF-8."
    return None


def _decode(
    path: str, raw_path: bytes, roots: Iterable[str], separator: str | None = None
) -> str:
    """Return the decoded path, without the site's root path, to match patterns.

    Args:
        path: The path as the server decoded it.
        raw_path: The path as the client sent it, empty if the server does not say.
        roots: The possible root paths of the site. The first one that the path starts
            with is removed. A proxy may have removed it already, which Django allows,
            too.
        separator: The separator of channel ids, None if the path has one channel.
    """
    if b"%" in raw_path:
        # Servers decode an encoded slash as well, and replace bytes that are not UTF-8.
        path = (
            decode_path(raw_path)
            if separator is None
            else decode_separated_path(raw_path, separator)
        )
    if not path.startswith("/"):
        # The absolute form, which a server must accept (RFC 9112, section 3.2.2).
        path = "/" + path.partition("://")[2].partition("/")[2]
    for root in roots:
        root = root.rstrip("/")
        if root and path.startswith(f"{root}/"):
            return path.removeprefix(root)
    return path


class Refusal:
    """Refuses a WebSocket where there is none."""

    responding = False

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._request = scope, receive, send

    async def answer(self) -> None:
        await refuse_websocket(*self._request)

    async def answer_held(self) -> None:
        pass  # It has been refused.

    async def fail(self, error: BaseException) -> None:
        raise error

    def release(self) -> None:
        pass  # It has held nothing.


class OtherApplication:
    """Lets another application answer a scope that is no request to a push location.

    Args:
        application: The application.
    """

    responding = False

    def __init__(self, application: Application) -> None:
        self._application = application

    def begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._request = scope, receive, send

    async def answer(self) -> None:
        await self._application(*self._request)

    async def answer_held(self) -> None:
        pass  # The application has answered.

    async def fail(self, error: BaseException) -> None:
        raise error

    def release(self) -> None:
        pass  # It has held nothing.


class PushApplication:
    """An ASGI application with the push locations before another application.

    Args:
        django_application: The ASGI application that has the passthrough views.
        otherwise: The ASGI application that answers all other requests. Defaults to
            the Django application.
    """

    def __init__(
        self, django_application: Application, otherwise: Application | None = None
    ) -> None:
        check_settings()
        self._locations = PushLocations(lambda: django_application)
        self.find_location = self._locations.find_location
        self._otherwise = otherwise or django_application
        self._is_django_alone = isinstance(django_application, ASGIHandler)

    __call__ = answer_request

    def find(self, scope: Scope) -> Handler:
        """Return a consumer for a request, or a handler that calls the application."""
        consumer = self._locations.find_consumer(scope)
        return consumer or OtherApplication(self._find_other(scope))

    def _find_other(self, scope: Scope) -> Application:
        """Return the application for a scope that is no request to a location."""
        if scope["type"] == "lifespan":
            hubs.start()
            return partial(
                run_lifespan, self._otherwise, hubs.stop, self._locations.finish
            )
        if scope["type"] == "websocket" and self._is_django_alone:
            return refuse_websocket  # Where Django would fail.
        return self._otherwise


async def refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket before it is accepted."""
    await receive()
    await send({"type": "websocket.close"})


def check_settings() -> None:
    """Raise ``ImproperlyConfigured`` if ``PUSH_SERVER`` is invalid.

    Called at startup, so that an invalid configuration never serves.
    """
    settings = get_settings()
    for store in settings.store.values():
        check_store(store)
    check_metrics(settings)
    for location in settings.locations:
        if isinstance(location, SubscriberLocation) and location.authorize is not None:
            load_authorize(location.authorize)


def get_application(django_application: Application) -> PushApplication:
    """Return an ASGI application with the push locations before Django.

    While ``DEBUG`` is on, it serves static files as well, as ``runserver`` does, so
    that pages find ``updates.js`` on any server.

    Args:
        django_application: What ``get_asgi_application()`` returned, or another ASGI
            application around it.

    Raises ``ImproperlyConfigured`` if ``PUSH_SERVER`` is invalid.
    """
    return PushApplication(
        django_application, otherwise=serve_static_files(django_application)
    )


def __getattr__(name: str) -> list[Any]:
    # Made on access, so that importing this module reads no settings.
    if name == "urlpatterns":
        check_settings()
        # Channels' URLRouter calls it as an ASGI application, and not as a view.
        locations: Any = PushLocations(lru_cache(get_asgi_application))
        return [re_path("", locations)]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
