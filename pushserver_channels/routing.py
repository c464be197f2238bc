"""Ways into the push server from a site's ASGI application.

One include beside Django::

    application = get_application(get_asgi_application())

or the locations among other consumers::

    URLRouter([path("chat/", ChatConsumer.as_asgi()), *urlpatterns])
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from django.core.asgi import get_asgi_application
from django.urls import Resolver404, URLPattern, re_path

from pushserver.conf import (
    Location,
    PublisherLocation,
    PushServerSettings,
    SubscriberLocation,
    get_settings,
)
from pushserver.paths import decode_path, match_channel

from .consumers import IntervalPollConsumer, LongPollConsumer, PublisherConsumer
from .consumers.base import PushConsumer
from .consumers.publisher import remember_who_is_inside
from .cors import CrossOrigin, CrossOriginPublishing
from .hubs import hubs
from .passthrough import Dispatcher, Passthrough
from .protocol import REMEMBERED, Headers
from .shutdown import live
from .static_files import serve_static_files
from .stores import check_store
from .subscriptions import WATCH_AFTER
from .types import Application, Receive, Scope, Send

#: Makes a consumer of a location, given a channel id and why it cannot be one.
MakeConsumer = Callable[[str, str | None], PushConsumer]
Route = tuple[Location, MakeConsumer]

#: The path, raw path and root path of a scope.
Place = tuple[str, bytes | None, str | None]

#: A consumer's maker, and what it is to be given.
Found = tuple[MakeConsumer, str, str | None]

#: For how many places it is remembered what answers there.
REMEMBERED_PLACES = 1024


#: Bytes of a path that is decoded. h11 and granian read no longer ones.
MAX_PATH = 65_536


class PushLocations:
    """Answers requests to the locations of ``PUSH_SERVER``.

    Others are a ``Resolver404``, which makes a ``URLRouter`` try its next route. The
    settings are asked for each request, so a change of them takes effect.

    Args:
        get_django_application: Returns the ASGI application that has the passthrough
            views.
    """

    #: A URLRouter takes this for a router: its pattern is no endpoint.
    _path_routing = True

    def __init__(self, get_django_application: Callable[[], Application]) -> None:
        self._get_django_application = get_django_application
        self._settings: PushServerSettings | None = None
        self._routes: list[Route] = []
        self._dispatcher: Dispatcher | None = None
        self._found: dict[Place, Found | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        consumer = self.find(scope)
        if consumer is None:
            path = scope["path"][:REMEMBERED]
            raise Resolver404(f"No push location matches {path!r}.")
        await consumer(scope, receive, send)

    def find(self, scope: Scope) -> PushConsumer | None:
        """Return a consumer of the first location that matches, for this request."""
        if scope["type"] != "http":
            return None
        settings = get_settings()
        if settings is not self._settings:
            self._routes = self._make_routes(settings)
            self._settings = settings
            self._found = {}
        place = scope["path"], scope.get("raw_path"), scope.get("root_path")
        try:
            found = self._found[place]
        except KeyError:
            found = self._remember(place)
        if found is None:
            # It may be a view that publishes: to this event loop, if directly.
            hubs.serve(scope.get("server"))
            return None
        make_consumer, channel_id, fault = found
        return make_consumer(channel_id, fault)

    async def finish(self) -> None:
        """Wait until the passthrough views were told of everything, but not for long.

        A server may end with its last connection, but a view whose thread waits for the
        event loop would then keep the process for ever.
        """
        if self._dispatcher is not None:
            await self._dispatcher.wait_to_stop()

    def find_location(self, scope: Scope) -> Location | None:
        """Return the first location that matches, None if there is none."""
        consumer = self.find(scope)
        return None if consumer is None else consumer.location

    def _remember(self, place: Place) -> Found | None:
        """Return what answers at a place, and remember it if that is not too much.

        Many ask for the same channels, but a client could fill the memory with long
        ones.
        """
        path, raw_path, root_path = place[0], place[1] or b"", place[2] or ""
        if len(raw_path) <= MAX_PATH:
            found = self._look_up(_decode(path, raw_path, root_path))
        else:
            # As the server has decoded it: that is enough to know who refuses it.
            found = self._look_up(path)
            if found is not None:
                found = found[0], "", f"A URL has at most {MAX_PATH} bytes here."
        if len(path) + len(raw_path) + len(root_path) <= REMEMBERED:
            if len(self._found) >= REMEMBERED_PLACES:
                self._found.clear()
            self._found[place] = found
        return found

    def _look_up(self, path: str) -> Found | None:
        """Return what answers at a decoded path."""
        for location, make_consumer in self._routes:
            channel_id = match_channel(location.url, path)
            if channel_id is not None:
                fault = _find_fault(channel_id, location.max_channel_id_length)
                return make_consumer, channel_id, fault
        return None

    def _make_routes(self, settings: PushServerSettings) -> list[Route]:
        name = settings.servername
        server_headers = [] if name is None else [(b"server", name.encode())]
        dispatcher = None
        if any(
            isinstance(each, SubscriberLocation) and each.passthrough
            for each in settings.locations
        ):
            dispatcher = Dispatcher(self._get_django_application())
        self._dispatcher = dispatcher
        watched = _has_to_watch(settings)
        return [
            (location, _prepare_consumer(location, server_headers, dispatcher, watched))
            for location in settings.locations
        ]


def _has_to_watch(settings: PushServerSettings) -> bool:
    """Return whether all who are held are watched from the start.

    Who has left takes nobody's place, and misses nothing that is kept; so for a moment
    it does no harm if that is not known. But channels belong to all locations.
    """
    return any(
        not each.store_messages
        if isinstance(each, PublisherLocation)
        else isinstance(each, SubscriberLocation) and each.concurrency != "broadcast"
        for each in settings.locations
    )


def _prepare_consumer(
    location: Location,
    server_headers: Headers,
    dispatcher: Dispatcher | None,
    watched: bool,
) -> MakeConsumer:
    """Return what makes the consumers of a location.

    What the requests to a location share is made once. (as_asgi() of the consumer would
    have each wait in one more coroutine.)
    """
    if isinstance(location, PublisherLocation):
        is_inside = remember_who_is_inside(location)
        publishing = CrossOriginPublishing(
            location.allow_origin, PublisherConsumer.methods, server_headers
        )
        return partial(PublisherConsumer, location, publishing.headers, is_inside)
    assert isinstance(location, SubscriberLocation)
    polling = {"long": LongPollConsumer, "interval": IntervalPollConsumer}
    passthrough = None
    if location.passthrough is not None and dispatcher is not None:
        passthrough = Passthrough(dispatcher, location.passthrough)
    consumer = polling[location.polling]
    cross_origin = CrossOrigin(
        location.allow_origin, location.allow_credentials, server_headers
    )
    # A view is told who has left. And a poll of a second ends before it is watched.
    watched = watched or passthrough is not None or 0 < location.timeout <= WATCH_AFTER
    return partial(consumer, location, cross_origin.headers, passthrough, watched)


def _find_fault(channel_id: str, max_length: int) -> str | None:
    """Return why a channel id cannot be one, None if it can.

    Args:
        channel_id: The channel id in a URL.
        max_length: Characters, 0 for no limit.
    """
    if not channel_id:
        return "The URL has no channel id."
    if 0 < max_length < len(channel_id):
        return f"A channel id has at most {max_length} characters here."
    try:
        channel_id.encode()
    except UnicodeEncodeError:
        return "The channel id in the URL is not UTF-8."
    return None


def _decode(path: str, raw_path: bytes, root_path: str) -> str:
    """Return the path that patterns match, decoded and below the site's root."""
    if b"%" in raw_path:
        # Servers decode an encoded slash, too, and replace what is not UTF-8.
        path = decode_path(raw_path.partition(b"?")[0])
    if not path.startswith("/"):
        # The absolute form, which a server has to accept (RFC 9112, section 3.2.2).
        path = "/" + path.partition("://")[2].partition("/")[2]
    root_path = root_path.rstrip("/")
    return path.removeprefix(root_path) if path.startswith(f"{root_path}/") else path


class PushApplication:
    """An ASGI application with the push locations before another application.

    Args:
        django_application: Has the passthrough views.
        otherwise: Answers everything else; Django, if it is None.
    """

    def __init__(
        self, django_application: Application, otherwise: Application | None = None
    ) -> None:
        check_settings()
        self._locations = PushLocations(lambda: django_application)
        self.find_location = self._locations.find_location
        self._otherwise = otherwise or django_application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        consumer = self._locations.find(scope)
        if consumer is None:
            await self._find_other(scope)(scope, receive, send)
            return
        # As it would do itself, in this coroutine.
        consumer.begin(scope, receive, send)
        try:
            answer = await consumer.answer()
            if answer is None:
                answer = consumer.go_on() or await consumer.watch()
            start, body = answer
            await send(start)
            await send(body)
        except BaseException as error:
            await consumer.fail(error)

    def _find_other(self, scope: Scope) -> Application:
        """Return what answers where no push location does."""
        if scope["type"] == "lifespan":
            hubs.start()
            return partial(live, self._otherwise, hubs.stop, self._locations.finish)
        if scope["type"] == "websocket":
            is_ours = self._locations.find({**scope, "type": "http"}) is not None
            return refuse_websocket if is_ours else self._otherwise
        return self._otherwise


async def refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket on the path of a location, where Django would fail."""
    await receive()
    await send({"type": "websocket.close"})


def check_settings() -> None:
    """Raise ``ImproperlyConfigured`` if ``PUSH_SERVER`` cannot be served.

    A wrong one never starts.
    """
    for store in get_settings().store.values():
        check_store(store)


def get_application(django_application: Application) -> PushApplication:
    """Return an ASGI application with the push locations before Django.

    Under ``DEBUG`` it serves static files as well, as ``runserver`` does, so that pages
    find ``updates.js`` whatever server runs it.

    Raises ``ImproperlyConfigured`` if ``PUSH_SERVER`` cannot be served.
    """
    return PushApplication(
        django_application, otherwise=serve_static_files(django_application)
    )


def __getattr__(name: str) -> list[URLPattern]:
    # Made when it is asked for: importing this module reads no settings.
    if name == "urlpatterns":
        check_settings()
        return [re_path("", PushLocations(lru_cache(get_asgi_application)))]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
