"""A site whose pages have signed URLs: its settings, URLs and views.

Only the view that gives tokens grants anything, so who listens needs a token.
"""

from __future__ import annotations

from django.contrib.staticfiles.views import serve
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path, reverse

from pushserver.access import Grant, revoke
from tests.settings import *  # noqa: F403

ROOT_URLCONF = __name__

#: Receives what the tag has written, which updates.streams.js does by itself.
PAGE = """
    {% load pushserver %}<!doctype html><title>A page</title>
    {% for script in scripts %}
        <script src="/static/pushserver/{{ script }}"></script>
    {% endfor %}
    {% push_channels one=one two=two %}
    <script>
        window.got = [];
        window.states = [];
        const tag = document.querySelector("[data-push-channels]");
        const channels = JSON.parse(tag.textContent);
        for (const name of Object.keys(channels)) {
            updates.on(name, ({data}) => got.push([name, data]));
        }
        updates.onState((state, name, detail) => states.push([state, name, detail]));
        const transport = "{{ transport }}";
        if (transport !== "stream") {
            for (const channel of Object.values(channels)) {
                channel.transport = transport;
            }
            updates.subscribe(channels);
        }
    </script>
"""


def may_listen(request: HttpRequest, channel_id: str) -> Grant | bool:
    """Let a user listen who asks for a token."""
    if request.path != reverse("pushserver-tokens") or "name" not in request.session:
        return False
    return Grant(user=request.session["name"])


def page(request: HttpRequest, user: str, transport: str) -> HttpResponse:
    """Log a user in, and show a page with two channels of this user."""
    request.session["name"] = user
    context = {
        "scripts": request.GET.getlist("script"),
        "transport": transport,
        "one": f"{user}-{transport}/one",
        "two": f"{user}-{transport}/two",
    }
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


def log_out(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return HttpResponse()


def revoke_all(request: HttpRequest, user: str) -> HttpResponse:
    revoke(user=user)
    return HttpResponse()


urlpatterns = [
    path("static/<path:path>", serve, {"insecure": True}),
    path("page/<user>/<transport>", page),
    path("logout", log_out),
    path("revoke/<user>", revoke_all),
    path("push/", include("pushserver.urls")),
]

#: What the environment of the server says to its settings.
LOCATIONS = [
    {"type": "publisher", "prefix": "/send-update/"},
    {
        "type": "subscriber",
        "prefix": "/updates/",
        "separator": ",",
        "create_on_get": True,
        "signed": True,
        "authorize": f"{__name__}.may_listen",
    },
]
