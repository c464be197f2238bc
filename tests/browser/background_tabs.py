"""Tabs that Chromium hides and freezes.

It never hides the pages that Playwright opens. These are opened without it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession


class Tab:
    """A tab, which is driven by the DevTools protocol."""

    def __init__(self, session: CDPSession, target: str, session_id: str) -> None:
        self.target = target
        self._session = session
        self._session_id = session_id
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        session.on("Target.receivedMessageFromTarget", self._receive)

    def _receive(self, event: dict[str, Any]) -> None:
        if event["sessionId"] == self._session_id:
            message = json.loads(event["message"])
            answer = self._answers.pop(message.get("id"), None)
            if answer is not None:
                answer.set_result(message.get("result", message))

    async def send(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        number = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        message = json.dumps({"id": number, "method": method, "params": params})
        await self._session.send(
            "Target.sendMessageToTarget",
            {"sessionId": self._session_id, "message": message},
        )
        return await asyncio.wait_for(answer, PATIENCE)

    async def run(self, expression: str) -> Any:
        """Evaluate an expression in the page and return its value."""
        params = {"expression": expression, "returnByValue": True}
        answer = await self.send("Runtime.evaluate", **params)
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression in the page is true."""

        async def wait() -> None:
            while not await self.run(condition):
                await asyncio.sleep(0.02)

        await asyncio.wait_for(wait(), PATIENCE)

    async def freeze(self) -> None:
        await self.send("Page.setWebLifecycleState", state="frozen")

    async def resume(self) -> None:
        await self.send("Page.setWebLifecycleState", state="active")


@asynccontextmanager
async def open_tabs(browser: Browser, *urls: str) -> AsyncIterator[list[Tab]]:
    """Open tabs in one window, of which the last one is visible."""
    session = await browser.new_browser_cdp_session()
    tabs: list[Tab] = []
    try:
        for index, url in enumerate(urls):
            options = {"url": url, "newWindow": index == 0}
            target = (await session.send("Target.createTarget", options))["targetId"]
            attached = await session.send(
                "Target.attachToTarget", {"targetId": target, "flatten": False}
            )
            tabs.append(Tab(session, target, attached["sessionId"]))
            await tabs[-1].until("document.readyState === 'complete'")
        yield tabs
    finally:
        for tab in tabs:
            await session.send("Target.closeTarget", {"targetId": tab.target})
        await session.detach()
