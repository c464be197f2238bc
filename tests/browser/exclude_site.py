"""A site whose pages do not hear of what they publish themselves."""

from __future__ import annotations

from django.contrib.staticfiles.views import serve
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

from pushserver.updates import send_update
from tests.settings import *  # noqa: F403

ROOT_URLCONF = __name__

PAGE = """
    {% load pushserver %}<!doctype html><title>A page</title>
    {% for script in scripts %}<script src="/static/pushserver/{{ script }}"></script>
    {% endfor %}
    <script>
        window.got = [];
        updates.on("news", ({ data }) => got.push(data.text));
        const channel = { url: "{% channel_url 'news' %}", share: "everybody" };
        if ("{{ transport }}" !== "tabs") {
            channel.transport = "{{ transport }}";
        }
        updates.subscribe({ news: channel });
        const headers = { "Push-Client": updates.clientId };
        const say = (text) => fetch(`/say?text=${text}`, { headers });
    </script>
"""

HTMX = """
    {% load pushserver %}<!doctype html><title>A page</title>
    <script src="/static/pushserver/updates.js"></script>
    <script src="/static/pushserver/updates.streams.js"></script>
    <script src="/static/pushserver/updates.eventsource.js"></script>
    <script src="/htmx-2.js"></script>
    <script src="/htmx-2-sse.js"></script>
    <script>htmx.createEventSource = (url) => updates.eventSource(url);</script>
    <body hx-headers='js:{"Push-Client": updates.clientId}'>
    <ul id="list" hx-ext="sse" sse-connect="{% channel_url 'notes' %}"
        sse-swap="message" hx-swap="beforeend"></ul>
    <form hx-post="/note" hx-target="#list" hx-swap="beforeend">
        <input name="text"><button>Add</button>
    </form>
"""


def page(request: HttpRequest, transport: str) -> HttpResponse:
    context = {"transport": transport, "scripts": request.GET.getlist("script")}
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


def say(request: HttpRequest) -> HttpResponse:
    """Publish a text, of which the page that sent it does not hear."""
    send_update("news", {"text": request.GET["text"]}, exclude=request)
    return HttpResponse()


def htmx_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(HTMX).render({}, request))


def note(request: HttpRequest) -> HttpResponse:
    """Answer with an element for the page itself, and publish it for the others."""
    item = f"<li>{request.POST['text']}</li>"
    send_update("notes", item, content_type="text/html", exclude=request)
    return HttpResponse(item)


urlpatterns = [
    path("static/<path:path>", serve, {"insecure": True}),
    path("page/<transport>", page),
    path("say", say),
    path("htmx", htmx_page),
    path("note", note),
]
