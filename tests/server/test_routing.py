from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from typing import Any
from urllib.parse import quote

import pytest
from channels.generic.http import AsyncHttpConsumer
from channels.routing import URLRouter
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import URLPattern, path, re_path

from pushserver_channels.routing import PushLocations, get_application
from pushserver_channels.types import Application, Scope
from tests.servers import ROOT
from tests.waiting import until

from .exchanges import Answer, Exchange, django, http_scope, until_held

pytestmark = pytest.mark.usefixtures("nothing_left")

LOCATIONS: list[dict[str, Any]] = [
    {"type": "publisher", "url": "/send-update/([^/]+)"},
    {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True},
    {
        "type": "subscriber",
        "url": "/interval/([^/]+)",
        "polling": "interval",
        "create_on_get": True,
    },
]


class Hello(AsyncHttpConsumer):
    """A consumer of the site itself."""

    async def handle(self, body: bytes) -> None:
        await self.send_response(200, b"hello")


def spliced(*routes: URLPattern) -> Application:
    """Return a router with the push locations among the routes of a site."""
    from pushserver_channels.routing import urlpatterns

    router: Application = URLRouter(
        [path("hello", Hello.as_asgi()), *urlpatterns, *routes, re_path("", django)]
    )
    return router


@pytest.fixture(params=["include", "splice"])
def application(request: pytest.FixtureRequest) -> Any:
    """The push locations before Django, as application and in a router."""
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        yield get_application(django) if request.param == "include" else spliced()


async def ask(
    application: Application, method: str, path: str, body: bytes = b"", **scope: Any
) -> Answer:
    return await Exchange(application, method, path, (), body, **scope).answer()


async def test_each_location(application: Application) -> None:
    """Each location serves its paths."""
    assert (await ask(application, "GET", "/send-update/a")).status == 404
    assert (await ask(application, "GET", "/interval/a")).status == 304
    assert (await ask(application, "POST", "/send-update/a", b"news")).status == 202
    assert (await ask(application, "GET", "/updates/a")).body == b"news"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/elsewhere",
        "/updates",
        "/updates/",
        "/updates/a/b",
        "/updates/a/",
        "/x/updates/a",
        "//updates/a",
        "/Updates/a",
        "/updates/a%0A/",
        "/updates%2Fa",
        "/send-updates/a",
    ],
)
async def test_pattern_matches_the_whole_path(
    application: Application, path: str
) -> None:
    """A pattern matches the whole path; all other paths go to Django."""
    answer = await ask(application, "GET", path)
    assert answer.status == 299


@pytest.mark.parametrize("query", ["_=1699", "", "/b", "?", "a=%2F"])
async def test_query_string_is_not_part_of_the_id(
    application: Application, query: str
) -> None:
    """The query string is not part of the channel id."""
    await ask(application, "POST", "/send-update/a", b"news")
    answer = await ask(application, "GET", f"/interval/a?{query}")
    assert answer.body == b"news"


@pytest.mark.parametrize(
    ("encoded", "channel_id"),
    [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%2F", "/"),
        ("%252F", "%2F"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%E2%82%AC", "\u20ac"),
        ("%00", "\x00"),
        ("%3F", "?"),
        ("%23", "#"),
        ("%", "%"),
        ("%zz", "%zz"),
        ("a;b=c", "a;b=c"),
        ("a%0Ab", "a\nb"),
    ],
)
async def test_channel_ids(
    application: Application, encoded: str, channel_id: str
) -> None:
    """A channel id is the percent-decoded group, including slashes."""
    from pushserver_channels.hub import hubs

    answer = await ask(application, "POST", f"/send-update/{encoded}", b"news")
    assert answer.status == 202
    assert (await hubs.get("default").info(channel_id)).messages == 1
    assert (await ask(application, "GET", f"/updates/{encoded}")).body == b"news"


async def test_ids_are_compared_after_decoding(application: Application) -> None:
    """Ids are different channels if they differ after decoding."""
    await ask(application, "POST", "/send-update/a%2Fb", b"slash")
    await ask(application, "POST", "/send-update/a%252Fb", b"text")
    assert (await ask(application, "GET", "/updates/a%2fb")).body == b"slash"
    assert (await ask(application, "GET", "/updates/a%252Fb")).body == b"text"
    assert (await ask(application, "GET", "/updates/%61%2Fb")).body == b"slash"


@pytest.mark.parametrize("path", ["/updates/%FF", "/interval/%C3", "/send-update/%80"])
async def test_id_that_is_not_utf8_gets_400(
    application: Application, path: str
) -> None:
    """A channel id that is not UTF-8 gets 400."""
    assert (await ask(application, "GET", path)).status == 400


async def test_without_a_raw_path(application: Application) -> None:
    """If the server gives no raw path, the decoded one is matched."""
    for sent in ("/send-update/a%20b", "/send-update/a%E2%82%AC"):
        answer = await ask(application, "POST", sent, b"news", raw_path=None)
        assert answer.status == 202
    assert (await ask(application, "GET", "/updates/a%20b")).body == b"news"
    assert (await ask(application, "GET", "/updates/a%E2%82%AC")).body == b"news"


@pytest.mark.parametrize("root_path", ["/site", "/site/", "/a/b", "/\u20ac"])
async def test_root_path(application: Application, root_path: str) -> None:
    """Patterns match the path below the root path."""
    scope = {"root_path": root_path}
    prefix = quote(root_path.rstrip("/"))
    path = f"{prefix}/send-update/a%2Fb"
    answer = await ask(application, "POST", path, b"news", **scope)
    assert answer.status == 202
    answer = await ask(application, "GET", f"{prefix}/updates/a%2Fb", **scope)
    assert answer.body == b"news"
    answer = await ask(application, "GET", f"{prefix}/updates/a%2Fb/c", **scope)
    assert answer.status == 299


@pytest.mark.parametrize("script_name", ["/site", "/site/", "/a/b", "/\u20ac"])
async def test_a_forced_script_name(application: Application, script_name: str) -> None:
    """Patterns match below FORCE_SCRIPT_NAME, and without it behind a proxy."""
    prefix = quote(script_name.rstrip("/"))
    with override_settings(FORCE_SCRIPT_NAME=script_name):
        path = f"{prefix}/send-update/a%2Fb"
        assert (await ask(application, "POST", path, b"news")).status == 202
        for below in (f"{prefix}/updates/a%2Fb", "/updates/a%2Fb"):
            assert (await ask(application, "GET", below)).body == b"news"
        other = f"{prefix}x/updates/a%2Fb"
        assert (await ask(application, "GET", other)).status == 299
    other = "/forced/updates/a"
    assert (await ask(application, "GET", other)).status == 299


@pytest.mark.parametrize("part", ["path", "raw_path", "root_path"])
async def test_long_paths_are_not_cached(part: str) -> None:
    """Results for long paths are not cached, so they cannot fill the memory."""
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        locations = PushLocations(lambda: django)
        size = 1_000_000
        tracemalloc.start()
        try:
            for i in range(3):
                long = "/" + "x" * size + str(i)
                scope = http_scope("GET", "/interval/a")
                scope[part] = long.encode() if part == "raw_path" else long
                locations.find_consumer(scope)
                del scope, long
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert taken < size


async def test_the_first_location_wins() -> None:
    """If two locations match, the first one answers."""
    locations = [
        {"type": "subscriber", "url": "/push/only-(.+)", "polling": "interval"},
        {"type": "publisher", "url": "/push/(.+)"},
        {"type": "subscriber", "url": "/push/never-(.+)"},
    ]
    with override_settings(PUSH_SERVER={"locations": locations}):
        application = get_application(django)
        allow = [
            (await ask(application, "PATCH", path))["allow"]
            for path in ("/push/only-a", "/push/a", "/push/never-a")
        ]
    publisher = "GET, HEAD, PUT, POST, DELETE, OPTIONS"
    assert allow == ["GET, OPTIONS", publisher, publisher]


async def test_prefix_and_url() -> None:
    """A prefix matches any id below it, and url takes precedence over prefix."""
    locations = [
        {"type": "publisher", "prefix": "/send/"},
        {"type": "subscriber", "prefix": "/nothing/", "url": "/get/(a+)"},
    ]
    with override_settings(PUSH_SERVER={"locations": locations}):
        application = get_application(django)
        assert (await ask(application, "POST", "/send/a/b//c", b"1")).status == 202
        assert (await ask(application, "POST", "/send/", b"1")).status == 299
        assert (await ask(application, "GET", "/nothing/a")).status == 299
        assert (await ask(application, "GET", "/get/aa")).status == 404


async def test_no_locations() -> None:
    """By default the locations are /publisher/ and /subscriber/."""
    with override_settings(PUSH_SERVER={}):
        application = get_application(django)
        assert (await ask(application, "POST", "/publisher/a/b", b"1")).status == 202
        assert (await ask(application, "GET", "/subscriber/a/b")).body == b"1"
        assert (await ask(application, "GET", "/subscriber/b")).status == 404


async def test_prefix_accepts_any_text_as_id() -> None:
    """Below a prefix any text is a channel id, including line ends."""
    with override_settings(PUSH_SERVER={}):
        application = get_application(django)
        for channel_id in ("a%0Ab", "%0A", "a%0D", "%E2%80%A8", "a%00b"):
            answer = await ask(application, "POST", f"/publisher/{channel_id}", b"1")
            assert answer.status == 202, channel_id


async def test_named_stores() -> None:
    """A location uses the store that it names."""
    conf = {
        "store": {"default": {"type": "memory"}, "other": {"type": "memory"}},
        "locations": [
            *LOCATIONS,
            {"type": "publisher", "url": "/other/([^/]+)", "store": "other"},
            {"type": "subscriber", "url": "/from-other/([^/]+)", "store": "other"},
        ],
    }
    with override_settings(PUSH_SERVER=conf):
        application = get_application(django)
        await ask(application, "POST", "/send-update/a", b"default")
        await ask(application, "POST", "/other/a", b"other")
        assert (await ask(application, "GET", "/updates/a")).body == b"default"
        assert (await ask(application, "GET", "/from-other/a")).body == b"other"


async def _open_websocket(
    path: str, application: Application | None = None
) -> list[Any]:
    """Open a WebSocket, and return what the client receives."""
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        application = application or get_application(django)
        seen: list[Any] = []

        async def send(message: Any) -> None:
            seen.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        scope: Scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "path": path,
            "raw_path": path.encode(),
            "headers": [],
        }
        await application(scope, receive, send)
    return seen


async def test_websockets_on_other_paths_go_to_the_site() -> None:
    """A WebSocket on any other path goes to the site."""
    assert await _open_websocket("/chat") == [{"type": "websocket.seen"}]


async def test_websocket_on_a_publisher_location_is_refused() -> None:
    """Publishing over a WebSocket is not supported."""
    opened = await _open_websocket("/send-update/a")
    assert opened == [{"type": "websocket.close"}]


async def test_websocket_on_another_path_of_a_plain_django_is_refused() -> None:
    """A WebSocket on any other path is refused if the site is Django alone."""
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        application = get_application(get_asgi_application())
        seen = await _open_websocket("/chat", application)
    assert seen == [{"type": "websocket.close"}]


async def test_websockets_on_other_paths_go_to_the_next_route() -> None:
    """In a router for WebSockets, other paths go to the next route."""
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        application = spliced()
        seen: list[Any] = []

        async def send(message: Any) -> None:
            seen.append(message)

        async def receive() -> Any:
            raise AssertionError("nothing is received")

        scope: Scope = {
            "type": "websocket",
            "path": "/chat",
            "raw_path": b"/chat",
            "headers": [],
        }
        await application(scope, receive, send)
    assert seen == [{"type": "websocket.seen"}]


async def test_locations_do_not_affect_other_routes() -> None:
    """In a router, the locations do not affect the other routes of the site."""
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        application = spliced(path("after", Hello.as_asgi()))
        assert (await ask(application, "GET", "/hello")).body == b"hello"
        assert (await ask(application, "GET", "/after")).body == b"hello"
        assert (await ask(application, "GET", "/interval/a")).status == 304
        assert (await ask(application, "GET", "/else")).body == b"/else"


async def test_requests_are_held_in_a_router() -> None:
    """Requests are held in a router, too."""
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        application = spliced()
        held = Exchange(application, "GET", "/updates/a").start()
        await until_held("a")
        answer = await ask(application, "POST", "/send-update/a", b"news")
        assert answer.status == 201
        assert (await held.answer()).body == b"news"


async def test_patterns_match_in_a_nested_router() -> None:
    """Patterns match the whole path in a nested router, too."""
    with override_settings(PUSH_SERVER={"locations": LOCATIONS}):
        router = URLRouter([path("", spliced())])
        assert (await ask(router, "GET", "/interval/a")).status == 304
        assert (await ask(router, "GET", "/hello")).body == b"hello"
        router = URLRouter([path("inner/", spliced())])
        assert (await ask(router, "GET", "/inner/interval/a")).status == 299


async def test_changed_settings_take_effect(application: Application) -> None:
    """A change of the settings changes the locations of a running application."""
    moved = [{**each, "url": "/moved" + each["url"]} for each in LOCATIONS]
    await ask(application, "POST", "/send-update/a", b"news")
    with override_settings(PUSH_SERVER={"locations": moved}):
        assert (await ask(application, "GET", "/interval/a")).status == 299
        # The store is a new one, without the message.
        assert (await ask(application, "GET", "/moved/interval/a")).status == 304
    assert (await ask(application, "GET", "/moved/interval/a")).status == 299
    assert (await ask(application, "GET", "/interval/a")).status == 304


async def test_changed_internal_ips_take_effect(application: Application) -> None:
    """A change of INTERNAL_IPS changes who may publish by default."""
    scope = {"client": ["10.0.0.1", 1]}
    assert (await ask(application, "PUT", "/send-update/a", **scope)).status == 403
    with override_settings(INTERNAL_IPS=["10.0.0.1"]):
        assert (await ask(application, "PUT", "/send-update/a", **scope)).status == 200
        assert (await ask(application, "PUT", "/send-update/a")).status == 403
    with override_settings(INTERNAL_IPS=[]):
        assert (await ask(application, "PUT", "/send-update/a", **scope)).status == 403
        assert (await ask(application, "PUT", "/send-update/a")).status == 200


WRONG: list[Any] = [
    {"locations": [{"type": "subscriber", "url": "/a/(.+)", "polling": "quick"}]},
    {"locations": [{"type": "subscriber", "url": "/a/.+"}]},
    {"locations": [{"type": "subscriber", "url": "/a/("}]},
    {"locations": [{"type": "subscriber", "url": "/a/(.+)", "store": "none"}]},
    {"no such key": 1},
]


@pytest.mark.parametrize("wrong", WRONG)
async def test_invalid_settings_prevent_the_start(wrong: Any) -> None:
    """With an invalid PUSH_SERVER, neither application nor routes can be created."""
    with override_settings(PUSH_SERVER=wrong):
        with pytest.raises(ImproperlyConfigured, match="^PUSH_SERVER"):
            get_application(django)
        with pytest.raises(ImproperlyConfigured, match="^PUSH_SERVER"):
            spliced()


async def test_invalid_store_prevents_the_start() -> None:
    """With an invalid store, neither application nor routes can be created."""
    store = {"type": "redis", "url": "redis://127.0.0.1:6379/0?nonsense=1"}
    with override_settings(PUSH_SERVER={"store": store}):
        with pytest.raises(ImproperlyConfigured, match="nonsense"):
            get_application(django)
        with pytest.raises(ImproperlyConfigured, match="nonsense"):
            spliced()


@pytest.mark.process
@pytest.mark.parametrize(
    "statement",
    [
        "import tests.asgi",
        "import django; django.setup();"
        " from pushserver_channels.routing import urlpatterns",
    ],
)
def test_server_with_invalid_settings_exits_at_once(statement: str) -> None:
    """A server with an invalid PUSH_SERVER exits at once and reports the reason."""
    ended = subprocess.run(
        [sys.executable, "-c", statement],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_PUSH_SERVER": '{"locatoins": []}',
        },
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0
    assert "PUSH_SERVER['locatoins'] is not a known setting" in ended.stderr
    assert "Did you mean 'locations'?" in ended.stderr


async def test_passthrough_view_of_a_router() -> None:
    """In a router, passthrough requests go to the site's Django."""
    from tests import urls

    locations = [LOCATIONS[0], {**LOCATIONS[1], "passthrough": "/passthrough"}]
    urls.heard.clear()
    with override_settings(PUSH_SERVER={"locations": locations}):
        application = spliced()
        held = Exchange(application, "GET", "/updates/a").start()
        await until_held("a")
        await ask(application, "POST", "/send-update/a", b"news")
        await held.answer()
        await until(lambda: len(urls.heard) == 2)
    assert [each["event"] for each in urls.heard] == ["subscribe", "unsubscribe"]


async def test_absolute_form_of_a_request_target(application: Application) -> None:
    """A request for a whole URL is served by the path in the URL."""
    answer = await ask(application, "GET", "http://push.example.com/interval/a")
    assert answer.status == 304


@pytest.mark.parametrize(
    ("debug", "static_url", "served"),
    [(True, "/static/", True), (False, "/static/", False), (True, None, False)],
)
async def test_static_files_are_served_while_debugging(
    debug: bool, static_url: str | None, served: bool
) -> None:
    """The file updates.js is served under DEBUG only."""
    installed = ["django.contrib.staticfiles", "pushserver"]
    with override_settings(
        DEBUG=debug, STATIC_URL=static_url, INSTALLED_APPS=installed
    ):
        application = get_application(django)
        answer = await ask(application, "GET", "/static/pushserver/updates.js")
        other = await ask(application, "GET", "/other")
    assert answer.body.startswith(b"/*! updates.js") is served
    assert (answer.status, other.status) == (200 if served else 299, 299)
