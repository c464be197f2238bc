"""Ways into the push server from a site's ASGI application.

One include beside Django::

    application = get_application(get_asgi_application())

or the locations among other consumers::

    URLRouter([path("chat/", ChatConsumer.as_asgi()), *urlpatterns])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.urls import Resolver404, URLPattern, re_path
from django.utils.module_loading import import_string

from pushserver.conf import (
    Location,
    PushServerSettings,
    SubscriberLocation,
    get_settings,
)
from pushserver.paths import decode_path, match_channel

from .consumers.base import (
    MAX_SHOWN_PATH,
    Handler,
    MakeConsumer,
    PushConsumer,
    Site,
    answer_request,
)
from .hub import Observer, hubs
from .memoize import memoize
from .passthrough import Dispatcher, Passthrough
from .shutdown import run_lifespan
from .static_files import serve_static_files
from .stores import check_store
from .types import Application, Receive, Scope, Send

#: Tells whether a request is for a kind of consumers, and makes one of them.
PreparedConsumer = tuple[Callable[[Scope], bool], MakeConsumer]
Route = tuple[Location, list[PreparedConsumer]]

#: The consumers of a location, and what one is to be given: a channel id and why it
#: cannot be one.
Match = tuple[list[PreparedConsumer], str, str | None]

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
        self._script_name = ""
        self._find = memoize(max_size=1024)(self._look_up)
        self._dispatcher: Dispatcher | None = None

    __call__ = answer_request

    def find(self, scope: Scope) -> PushConsumer:
        """Return a consumer for a request, or raise ``Resolver404``."""
        consumer = self.find_consumer(scope)
        if consumer is None:
            path = scope["path"][:MAX_SHOWN_PATH]
            raise Resolver404(f"No push location matches {path!r}.")
        return consumer

    def find_consumer(self, scope: Scope) -> PushConsumer | None:
        """Return a consumer of the first location that matches, None if none does."""
        if scope["type"] != "http":
            return None
        settings = get_settings()
        if settings is not self._settings:
            self._routes = self._make_routes(settings)
            self._script_name = django_settings.FORCE_SCRIPT_NAME or ""
            self._settings = settings
            self._find = memoize(max_size=1024)(self._look_up)
        # Many ask for the same channels.
        match = self._find(scope["path"], scope.get("raw_path"), scope.get("root_path"))
        if match is None:
            # It may be a view that publishes: to this event loop, if directly.
            hubs.serve(scope.get("server"))
            return None
        consumers, channel_id, fault = match
        for accepts, make_consumer in consumers:
            if accepts(scope):
                return make_consumer(channel_id, fault)
        raise AssertionError("A location's last kind of consumers accepts all.")

    async def finish(self) -> None:
        """Wait until the passthrough views were told of everything, but not for long.

        A server may end with its last connection, but a view whose thread waits for the
        event loop would then keep the process for ever.
        """
        if self._dispatcher is not None:
            await self._dispatcher.drain_before_exit()

    def find_location(self, scope: Scope) -> Location | None:
        """Return the first location that matches, None if there is none."""
        consumer = self.find_consumer(scope)
        return None if consumer is None else consumer.location

    def _look_up(
        self, path: str, raw_path: bytes | None, root_path: str | None
    ) -> Match | None:
        """Return what answers at a place."""
        raw_path = raw_path or b""
        if len(raw_path) > MAX_PATH:
            # As the server has decoded it: that is enough to know who refuses it.
            match = self._match(path)
            fault = f"A URL has at most {MAX_PATH} bytes here."
            return match and (match[0], "", fault)
        return self._match(_decode(path, raw_path, self._script_name, root_path or ""))

    def _match(self, path: str) -> Match | None:
        """Return what answers at a decoded path."""
        for location, consumers in self._routes:
            channel_id = match_channel(location.url, path)
            if channel_id is not None:
                fault = _find_id_fault(channel_id, location.max_channel_id_length)
                return consumers, channel_id, fault
        return None

    def _make_routes(self, settings: PushServerSettings) -> list[Route]:
        name = settings.servername
        headers = [] if name is None else [(b"server", name.encode())]
        dispatcher = None
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

        site = Site(settings, headers, observe)
        return [
            (location, [_prepare(each, location, site) for each in location.consumers])
            for location in settings.locations
        ]


def _prepare(path: str, location: Location, site: Site) -> PreparedConsumer:
    """Return what makes the consumers of a kind, and which requests are for them."""
    consumer: type[PushConsumer] = import_string(path)
    return consumer.accepts, consumer.prepare(location, site)


def _find_id_fault(channel_id: str, max_length: int) -> str | None:
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


def _decode(path: str, raw_path: bytes, *roots: str) -> str:
    """Return the path that patterns match, decoded and below the site's root.

    Args:
        path: The path as the server has decoded it.
        raw_path: The path as the client has sent it, if the server tells.
        roots: Where the site may be: the first one that the path begins with is taken
            away. A proxy may have taken it away already, as Django allows for, too.
    """
    if b"%" in raw_path:
        # Servers decode an encoded slash, too, and replace what is not UTF-8.
        path = decode_path(raw_path.partition(b"?")[0])
    if not path.startswith("/"):
        # The absolute form, which a server has to accept (RFC 9112, section 3.2.2).
        path = "/" + path.partition("://")[2].partition("/")[2]
    for root in roots:
        root = root.rstrip("/")
        if root and path.startswith(f"{root}/"):
            return path.removeprefix(root)
    return path


class Elsewhere:
    """Has an application answer what is no request to a push location.

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

    __call__ = answer_request

    def find(self, scope: Scope) -> Handler:
        """Return a consumer for a request, or what has another application answer."""
        consumer = self._locations.find_consumer(scope)
        return consumer or Elsewhere(self._find_other(scope))

    def _find_other(self, scope: Scope) -> Application:
        """Return what answers where no push location does."""
        if scope["type"] == "lifespan":
            hubs.start()
            return partial(
                run_lifespan, self._otherwise, hubs.stop, self._locations.finish
            )
        if scope["type"] == "websocket":
            is_ours = (
                self._locations.find_consumer({**scope, "type": "http"}) is not None
            )
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
