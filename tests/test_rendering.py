"""Updates that are rendered from templates."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.template import TemplateDoesNotExist
from django.test import RequestFactory

from pushserver.publishers.locmem import SentUpdate
from pushserver.test import sent_updates
from pushserver.updates import arender_update, render_update

TEMPLATES = {
    "note.html": "<li>{{ note }}</li>",
    "signed.html": "<li>{{ greeting }}, {{ note }}</li>",
    "token.html": "{% csrf_token %}",
    "form.html": "{{ csrf_token }}",
    "thread.html": "{{ thread }}",
}


def greet(request: HttpRequest) -> dict[str, str]:
    """A context processor."""
    return {"greeting": f"Hello from {request.path}"}


@pytest.fixture(autouse=True)
def outbox(settings: LazySettings) -> Iterator[None]:
    """Templates, and a publisher that records what is sent."""
    settings.PUSH_SERVER = {"publisher": "locmem"}
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", TEMPLATES)],
                "context_processors": ["tests.test_rendering.greet"],
            },
        }
    ]
    sent_updates.clear()
    yield
    sent_updates.clear()


def sent() -> SentUpdate:
    [update] = sent_updates
    return update


def test_a_template_is_sent_as_html() -> None:
    """What a user wrote is text in it, and the type says that it is HTML."""
    receipt = render_update("news", "note.html", {"note": "<script>&</script>"})
    assert receipt is not None
    assert sent() == SentUpdate(
        "news",
        b"<li>&lt;script&gt;&amp;&lt;/script&gt;</li>",
        "text/html; charset=utf-8",
    )


def test_other_arguments_are_those_of_send_update() -> None:
    stream = "text/vnd.turbo-stream.html"
    render_update(
        "news", "note.html", {"note": "ä"}, content_type=stream, event="story"
    )
    assert sent() == SentUpdate("news", "<li>ä</li>".encode(), stream, "story")
    with pytest.raises(TypeError, match="unknown"):
        render_update("news", "note.html", unknown=1)


def test_context_processors_need_a_request() -> None:
    request = RequestFactory().get("/page")
    render_update("news", "signed.html", {"note": 1}, request=request)
    render_update("news", "signed.html", {"note": 2})
    assert [each.data for each in sent_updates] == [
        "<li>Hello from /page, 1</li>",
        "<li>, 2</li>",
    ]


def test_a_request_has_a_token_for_forms() -> None:
    """As in all templates of Django; nobody else should get it."""
    request = RequestFactory().get("/")
    render_update("news", ["token.html"], request=request)
    assert 'name="csrfmiddlewaretoken"' in sent().data
    sent_updates.clear()
    render_update("news", ("form.html",))
    assert sent().data == ""


def test_the_first_template_that_exists() -> None:
    render_update("news", ["special.html", "note.html"], {"note": 1})
    assert sent().data == "<li>1</li>"


async def test_templates_that_do_not_exist() -> None:
    """Nothing is sent, also if errors of publishing are ignored."""
    for template in ("missing.html", ["missing.html", "other.html"]):
        with pytest.raises(TemplateDoesNotExist, match=r"missing\.html"):
            await arender_update("news", template, ignore_errors=True)
        with pytest.raises(TemplateDoesNotExist, match=r"missing\.html"):
            await asyncio.to_thread(render_update, "news", template)
    assert sent_updates == []


async def test_async_code_renders_in_a_thread() -> None:
    """A template may query the database, which an event loop does not allow."""
    context: dict[str, Any] = {"thread": threading.get_ident}
    request = RequestFactory().get("/page")
    await arender_update("news", "thread.html", context, event="story")
    assert sent().data != str(threading.get_ident())
    assert (sent().content_type, sent().event) == ("text/html; charset=utf-8", "story")
    sent_updates.clear()
    await arender_update("news", "signed.html", {"note": 1}, request=request)
    assert sent().data == "<li>Hello from /page, 1</li>"


async def test_sync_rendering_in_an_event_loop() -> None:
    with pytest.raises(SynchronousOnlyOperation, match=r"await arender_update\("):
        render_update("news", "note.html")
    assert sent_updates == []
