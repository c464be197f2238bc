from __future__ import annotations

import json

import pytest

from .exchanges import JSON, Serve

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_get_of_a_missing_channel(serve: Serve) -> None:
    """GET of a channel that does not exist gets 404, and creates none."""
    site = serve()
    for _ in range(2):
        answer = await site.ask("GET", "/send-update/a")
        assert answer.status == 404
        assert answer["content-type"] == "text/plain; charset=utf-8"
        assert answer.body == b"There is no such channel.\n"
        assert answer["content-length"] == str(len(answer.body))


async def test_put(serve: Serve) -> None:
    """PUT creates a channel and returns its info; the body is no message."""
    site = serve()
    answer = await site.ask("PUT", "/send-update/a", JSON, b"no message")
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "messages": 0,
        "requested": -1,
        "subscribers": 0,
        "last_message_id": "0:0",
    }
    assert await site.info("a") == json.loads(answer.body)


async def test_put_of_an_existing_channel(serve: Serve) -> None:
    """PUT of an existing channel changes nothing."""
    site = serve()
    await site.post("a")
    before = await site.info("a")
    answer = await site.ask("PUT", "/send-update/a", JSON, b"no message")
    assert answer.status == 200
    assert json.loads(answer.body) == before


async def test_put_answers_no_held_request(serve: Serve) -> None:
    """PUT publishes nothing, so held requests stay held."""
    site = serve()
    held = await site.hold("/updates/a")
    answer = await site.ask("PUT", "/send-update/a", JSON, b"no message")
    assert json.loads(answer.body)["subscribers"] == 1
    assert held.is_silent
    await site.post("a")
    assert (await held.answer()).body == b"news"


async def test_post_without_subscribers_gets_202(serve: Serve) -> None:
    """POST without a waiting subscriber gets 202 and the new channel info."""
    site = serve()
    answer = await site.post("a", b"news", JSON)
    info = json.loads(answer.body)
    assert answer.status == 202
    assert (info["messages"], info["subscribers"], info["requested"]) == (1, 0, -1)
    assert answer["content-type"] == "application/json"
    assert answer["content-length"] == str(len(answer.body))


async def test_post_with_subscribers_gets_201(serve: Serve) -> None:
    """POST with waiting subscribers gets 201 and their number."""
    site = serve()
    held = [await site.hold("/updates/a") for _ in range(3)]
    answer = await site.post("a", b"news", JSON)
    assert answer.status == 201
    assert json.loads(answer.body)["subscribers"] == 3
    assert [(await each.answer()).body for each in held] == [b"news"] * 3
    info = await site.info("a")
    assert info is not None
    assert info["subscribers"] == 0
    assert info["requested"] in (0, 1)


async def test_post_without_create_on_post_gets_404(serve: Serve) -> None:
    """Without create_on_post, POST to a channel that does not exist gets 404."""
    site = serve(publisher={"create_on_post": False})
    assert (await site.post("a")).status == 404
    assert await site.info("a") is None
    await site.ask("PUT", "/send-update/a")
    assert (await site.post("a")).status == 202


async def test_unstored_messages_reach_waiting_subscribers_only(serve: Serve) -> None:
    """Without store_messages, a message reaches only the waiting subscribers."""
    site = serve(publisher={"store_messages": False})
    assert (await site.post("a", b"missed")).status == 202
    held = await site.hold("/updates/a")
    assert (await site.post("a", b"now")).status == 201
    assert (await held.answer()).body == b"now"
    info = await site.info("a")
    assert info is not None
    assert info["messages"] == 0
    assert (await site.ask("GET", "/interval/a")).status == 304


async def test_delete(serve: Serve) -> None:
    """DELETE removes the channel and returns its last info."""
    site = serve(subscriber={"create_on_get": False})
    await site.post("a", b"1")
    await site.post("a", b"2")
    before = await site.info("a")
    answer = await site.ask("DELETE", "/send-update/a", JSON)
    assert answer.status == 200
    assert json.loads(answer.body) == before
    assert (await site.ask("DELETE", "/send-update/a")).status == 404
    assert (await site.ask("GET", "/send-update/a")).status == 404
    assert (await site.ask("GET", "/updates/a")).status == 404


async def test_delete_ends_held_requests(serve: Serve) -> None:
    """DELETE answers each held request with 410, and returns their number."""
    site = serve()
    held = [await site.hold("/updates/a") for _ in range(3)]
    answer = await site.ask("DELETE", "/send-update/a", JSON)
    assert json.loads(answer.body)["subscribers"] == 3
    for each in held:
        gone = await each.answer()
        assert gone.status == 410
        assert gone.body == b"The channel was deleted.\n"


async def test_head(serve: Serve) -> None:
    """HEAD has the headers of GET; the server omits the body."""
    site = serve()
    assert (await site.ask("HEAD", "/send-update/a")).status == 404
    await site.post("a")
    head = await site.ask("HEAD", "/send-update/a", JSON)
    get = await site.ask("GET", "/send-update/a", JSON)
    assert (head.status, head.headers) == (get.status, get.headers)


async def test_options_of_a_publisher_location(serve: Serve) -> None:
    """OPTIONS lists the methods, without a body."""
    answer = await serve().ask("OPTIONS", "/send-update/a")
    assert answer.status == 204
    assert answer["allow"] == "GET, HEAD, PUT, POST, DELETE, OPTIONS"
    assert answer.body == b""
    assert answer["content-length"] is None


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "CONNECT", "post", "X\u00e9", ""])
async def test_other_methods_of_a_publisher_location(serve: Serve, method: str) -> None:
    """Any other method gets 405 with Allow, and has no effect."""
    site = serve()
    answer = await site.ask(method, "/send-update/a", body=b"no message")
    assert answer.status == 405
    assert answer["allow"] == "GET, HEAD, PUT, POST, DELETE, OPTIONS"
    assert answer.body.startswith(f"The method {method} is not allowed here".encode())
    assert await site.info("a") is None


@pytest.mark.parametrize(
    ("accept", "content_type", "start"),
    [
        (None, "text/plain", b"queued messages: 1\r\n"),
        (b"text/html", "text/plain", b"queued messages: 1\r\n"),
        (b"text/json", "text/json", b'{"messages": 1, '),
        (b"text/xml", "text/xml", b'<?xml version="1.0" encoding="UTF-8" ?>\r\n'),
        (b"application/xml", "application/xml", b"<?xml"),
        (b"text/yaml", "text/yaml", b"---\r\nmessages: 1\r\n"),
        (b"application/yaml", "application/yaml", b"---\r\n"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_accept(
    serve: Serve, method: str, accept: bytes | None, content_type: str, start: bytes
) -> None:
    """Each method returns the channel info in the requested media type."""
    site = serve(store={"max_messages": 1})
    await site.post("a")
    headers = [] if accept is None else [(b"accept", accept)]
    answer = await site.ask(method, "/send-update/a", headers)
    assert answer["content-type"] == content_type
    assert answer.body.startswith(start)
    assert answer["content-length"] == str(len(answer.body))


async def test_accept_in_several_lines(serve: Serve) -> None:
    """Several lines of Accept are read as one list."""
    site = serve()
    await site.post("a")
    headers = [(b"accept", b"text/xml"), (b"accept", b"text/html")]
    answer = await site.ask("GET", "/send-update/a", headers)
    assert answer["content-type"] == "text/xml"
