from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests import http
from tests.servers import ServerProcess, wait_until_held


def test_post_answers_held_requests(server: ServerProcess) -> None:
    """A POST answers every held request with its message, and gets 201."""
    with ThreadPoolExecutor() as threads:
        held = [
            threads.submit(http.get, f"{server.url}/updates/smoke", timeout=30)
            for _ in range(3)
        ]
        wait_until_held(f"{server.url}/send-update/smoke", 3)
        posted = http.post(f"{server.url}/send-update/smoke", content=b"news")
    assert posted.status_code == 201
    assert [each.result().content for each in held] == [b"news"] * 3
