"""The recipes: pages on which visitors share notes, each with another client."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque

from pushserver.updates import arender_update

#: The most notes of a page.
MAX_NOTES = 20


class Recipe:
    """A page with notes, which it hears as HTML.

    Args:
        slug: Its name in URLs, and of the folder of its templates.
        title: What the menu calls it.
        summary: What it needs, in a sentence.
        library: The client library and its version, empty for none.
        event: The name of the event of its messages, None for none.
        loses: What it loses by itself.

    Attributes:
        channel_id: Its channel.
        notes: The newest notes, newest first.
        since: The position of the last one that was published.
    """

    def __init__(
        self,
        slug: str,
        title: str,
        summary: str,
        *,
        library: str = "",
        event: str | None = None,
        loses: str,
    ) -> None:
        self.slug = slug
        self.title = title
        self.summary = summary
        self.library = library
        self.event = event
        self.loses = loses
        self.channel_id = f"recipe-{slug}"
        self.notes: deque[dict[str, str]] = deque(maxlen=MAX_NOTES)
        self.since: dict[str, str | None] = {self.channel_id: "0:0"}
        self._in_order = asyncio.Lock()

    @property
    def page(self) -> str:
        """The template of the part of the page that listens."""
        return f"example_project/recipes/{self.slug}/page.html"

    @property
    def fragment(self) -> str:
        """The template of a message."""
        return f"example_project/recipes/{self.slug}/fragment.html"

    async def add(self, name: str, text: str) -> None:
        """Publish a note, and keep it for pages that are loaded later."""
        color, _, animal = name.partition(" ")
        note = {
            "id": uuid.uuid4().hex,
            "name": name,
            "color": color,
            "initials": color[:1] + animal[:1],
            "text": text,
        }
        async with self._in_order:
            notes = [note, *self.notes][:MAX_NOTES]
            receipt = await arender_update(
                self.channel_id,
                self.fragment,
                {"note": note, "notes": notes},
                event=self.event,
            )
            # Together, so that a page begins after what it shows.
            self.notes.appendleft(note)
            if receipt is not None and receipt.info is not None:
                self.since = {self.channel_id: receipt.info["last_message_id"]}


RECIPES = {
    recipe.slug: recipe
    for recipe in (
        Recipe(
            "fetch",
            "Plain fetch",
            "No library: a long poll in twenty lines of JavaScript.",
            loses="Nothing: it asks again after the last message that it had. What the"
            " server no longer has is told by the header Push-Gap.",
        ),
        Recipe(
            "htmx-sse",
            "htmx, sse",
            "Each message is an element that htmx inserts.",
            library="htmx 2.0.11 with its extension sse 2.2.4",
            loses="Nothing with updates.eventsource.js, as here. With the browser's own"
            " EventSource htmx begins anew after a refusal, and gets again what it has"
            " had since the page was loaded.",
        ),
        Recipe(
            "htmx-ws",
            "htmx, ws",
            "Each message is the whole list, which htmx puts in place of the old one.",
            library="htmx 2.0.11 with its extension ws 2.0.4",
            loses="It does not say what its last message was. So each message here is"
            " the whole list: the next one has what was missed.",
        ),
        Recipe(
            "turbo",
            "Turbo",
            "Each message is an action that Turbo Streams carries out.",
            library="Turbo 8.0.23",
            loses="Nothing while the site is up: the browser's EventSource comes back"
            " with the id of its last message. After a 4xx or 5xx, such as a proxy's"
            " 502, it does not, and the page has to be loaded again.",
        ),
        Recipe(
            "datastar",
            "Datastar",
            "Each message is an event that Datastar patches into the page.",
            library="Datastar 1.0.1",
            event="datastar-patch-elements",
            loses="Nothing with retry: 'always', until so many attempts in a row have"
            " failed. It does not tell the page that messages were lost.",
        ),
    )
}
