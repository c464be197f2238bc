"""Pages that subscribe with the client libraries of others.

The messages are the numbers from 0. ``got`` in a page is the list of those that it has.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Takes the messages from the elements that a library has inserted into the page.
INSERTED = """
<script>
    Object.defineProperty(window, "got", {
        get: () => [...document.querySelectorAll("#list b")].map((each) =>
            Number(each.textContent)),
    });
</script>
"""

LISTED = '<div id="list"></div>'

ELEMENT = "<b>{number}</b>"


@dataclass(frozen=True)
class Client:
    """A client library and how a page uses it.

    Attributes:
        page: The content of the page. ``URL`` in it stands for the subscriber URL, and
            ``WSS`` for the same as a URL of a WebSocket.
        body: A message; ``{number}`` stands for its number.
        event: The name of the event of a message, None for none.
        resumes: Whether it returns with the id of its last message.
        needs_same_origin: Whether the page has to be of the server's own origin.
    """

    page: str
    body: str = "{number}"
    event: str | None = None
    resumes: bool = True
    needs_same_origin: bool = False


def use(*scripts: str) -> str:
    """Return the tags that load scripts."""
    return "".join(f'<script src="/{script}"></script>' for script in scripts)


def subscribe_with_nchan(transport: str) -> Client:
    """Return the client of Nchan with one of its transports."""
    return Client(
        use("NchanSubscriber.js")
        + f"""
        <script>
            window.got = [];
            const subscriber = new NchanSubscriber("URL", "{transport}");
            subscriber.on("message", (message) => {{
                // The first frame of a WebSocket is the position.
                if (message) got.push(Number(message));
            }});
            subscriber.start();
        </script>
        """
    )


CLIENTS = {
    "EventSource": Client("""
        <script>
            window.got = [];
            const source = new EventSource("URL", {withCredentials: true});
            source.onmessage = ({data}) => got.push(Number(data));
        </script>
    """),
    "WebSocket": Client("""
        <script>
            window.got = [];
            let id = "";
            const final = [4400, 4401, 4403, 4404, 4409, 4410];
            function open() {
                const url = id ? `WSS?last_event_id=${id}` : "WSS";
                const socket = new WebSocket(url, "ws+meta.pushserver");
                socket.onmessage = ({data}) => {
                    const end = data.indexOf("\\n\\n");
                    id = /^id: (.*)$/m.exec(data.slice(0, end))[1];
                    const body = data.slice(end + 2);
                    if (body) got.push(Number(body));
                };
                socket.onclose = ({code}) => {
                    const delay = 500 + 1000 * Math.random();
                    if (!final.includes(code)) setTimeout(open, delay);
                };
            }
            open();
        </script>
    """),
    "htmx 2, sse": Client(
        use("htmx-2.js", "htmx-2-sse.js")
        + INSERTED
        + """
        <div hx-ext="sse" sse-connect="URL">
            <div id="list" sse-swap="message" hx-swap="beforeend"></div>
        </div>
        """,
        ELEMENT,
    ),
    "htmx 2, ws": Client(
        use("htmx-2.js", "htmx-2-ws.js")
        + INSERTED
        + f'<div hx-ext="ws" ws-connect="WSS">{LISTED}</div>',
        f'<div hx-swap-oob="beforeend:#list">{ELEMENT}</div>',
        resumes=False,
    ),
    "htmx 4, sse": Client(
        use("htmx-4.js", "htmx-4-sse.js")
        + INSERTED
        + '<div id="list" hx-sse:connect="URL" hx-swap="beforeend"></div>',
        ELEMENT,
        needs_same_origin=True,
    ),
    "htmx 4, ws": Client(
        use("htmx-4.js", "htmx-4-ws.js")
        + INSERTED
        + f'<div hx-ws:connect="WSS">{LISTED}</div>',
        f'<div hx-swap-oob="beforeend:#list">{ELEMENT}</div>',
        resumes=False,
    ),
    "Turbo": Client(
        '<script type="module" src="/turbo.js"></script>'
        + INSERTED
        + f'<turbo-stream-source src="URL"></turbo-stream-source>{LISTED}',
        '<turbo-stream action="append" target="list">'
        f"<template>{ELEMENT}</template></turbo-stream>",
    ),
    "event-source-polyfill": Client(
        use("event-source-polyfill.js")
        + """
        <script>
            window.got = [];
            const source = new EventSourcePolyfill("URL", {withCredentials: true});
            source.onmessage = ({data}) => got.push(Number(data));
        </script>
        """
    ),
    "fetch-event-source": Client("""
        <script type="importmap">
            {"imports": {"/parse": "/fetch-event-source-parse.js"}}
        </script>
        <script type="module">
            import {fetchEventSource} from "/fetch-event-source.js";
            window.got = [];
            fetchEventSource("URL", {
                credentials: "include",
                onmessage: ({data}) => { if (data) got.push(Number(data)) },
                // Without it, the end of a stream is the end for ever.
                onclose: () => { throw new Error("The stream has ended.") },
            });
        </script>
    """),
    "NchanSubscriber, eventsource": subscribe_with_nchan("eventsource"),
    "NchanSubscriber, websocket": subscribe_with_nchan("websocket"),
    "NchanSubscriber, longpoll": subscribe_with_nchan("longpoll"),
    "Datastar": Client(
        '<script type="module" src="/datastar.js"></script>'
        + INSERTED
        + LISTED
        + """<div data-init="@get('URL', {retry: 'always'})"></div>""",
        f"selector #list\nmode append\nelements {ELEMENT}",
        "datastar-patch-elements",
        needs_same_origin=True,
    ),
}
