"""A site whose pages show who is there, by signed URLs: its settings, URLs and views.

Only the view that gives tokens grants anything, so who listens needs a token, and the
channel tells what the token says of its user.
"""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.views import serve
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path, reverse

from pushserver.access import Grant
from pushserver.updates import subscriber_url
from tests.settings import *  # noqa: F403

ROOT_URLCONF = __name__

PAGE = """
    <!doctype html><title>A page</title>
    {% for script in scripts %}
        <script src="/static/pushserver/{{ script }}"></script>
    {% endfor %}
    <script>
        window.here = null;
        window.syncs = 0;
        window.heard = [];
        updates.presence("room", {
            onSync({members}) {
                syncs += 1;
                here = Object.fromEntries(members);
            },
            onJoin: (...change) => heard.push(["join", ...change]),
            onLeave: (...change) => heard.push(["leave", ...change]),
        });
        updates.subscribe({
            room: {
                url: "{{ url|escapejs }}",
                tokenUrl: "{% url 'pushserver-tokens' %}",
                transport: "{{ transport }}",
                location: '/updates/{channels}; separator=","',
            },
        });
    </script>
"""


def find_grant(request: HttpRequest) -> dict[str, Any]:
    """Return who is logged in, as a token names the user."""
    session = request.session
    return {"user": session["user"], "info": {"name": session["name"]}}


def may_listen(request: HttpRequest, channel_id: str) -> Grant | bool:
    """Let a user listen who asks for a token."""
    if request.path != reverse("pushserver-tokens") or "user" not in request.session:
        return False
    return Grant(**find_grant(request))


def page(request: HttpRequest, user: str, transport: str) -> HttpResponse:
    """Log a user in, and show a page that tells who else is there."""
    request.session.update({"user": user, "name": user.title()})
    context = {
        "scripts": request.GET.getlist("script"),
        "transport": transport,
        "url": subscriber_url(f"room-{transport}", **find_grant(request)),
    }
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


def rename(request: HttpRequest, name: str) -> HttpResponse:
    """Give the user another name, which the next token has."""
    request.session["name"] = name
    return HttpResponse()


urlpatterns = [
    path("static/<path:path>", serve, {"insecure": True}),
    path("page/<user>/<transport>", page),
    path("rename/<name>", rename),
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
        "presence": True,
        "presence_grace": 2,
    },
]
