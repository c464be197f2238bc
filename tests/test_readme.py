"""Follow the README literally in a new site."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from . import http
from .conformance.servers import need
from .readme import (
    ELSEWHERE,
    PRODUCTION,
    USE,
    commands,
    make_site,
    run,
    serve,
)
from .servers import ROOT, ServerProcess, wait_until_held

SCRIPT = ROOT / "pushserver/static/pushserver/updates.js"
SERVERS = [line for line in commands(USE) if line[0] in ("daphne", "python")]
NEWS = {"type": "answer", "value": "42"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site that startproject and the README have made."""
    return make_site(tmp_path_factory.mktemp("site"), USE)


def send(server: ServerProcess, value: str) -> httpx.Response:
    """Submit the form of the page, as a browser does."""
    with http.Client(base_url=server.url) as client:
        page = client.get("/").text
        token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None, page
        form = {"csrfmiddlewaretoken": token[1], "value": value}
        return client.post("/send", data=form, headers={"Origin": server.url})


def check_script(server: ServerProcess) -> None:
    """Check that the page's script is served completely and as a script."""
    page = http.get(f"{server.url}/").text
    source = re.search('<script src="([^"]+)"', page)
    assert source is not None, page
    script = http.get(server.url + source[1])
    assert script.status_code == 200
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert script.content == SCRIPT.read_bytes()


def test_readme_names_three_serving_commands() -> None:
    """The README names the three commands that the next test runs."""
    assert [line[0:3] for line in SERVERS] == [
        ["daphne", "project.asgi:application"],
        ["python", "manage.py", "runserver"],
        ["python", "manage.py", "runpushserver"],
    ]


@pytest.mark.process
@pytest.mark.parametrize("command", SERVERS, ids=" ".join)
def test_a_new_site_works(site: Path, command: list[str]) -> None:
    """On any port the page and its script are served, and updates arrive."""
    with serve(site, command) as server, ThreadPoolExecutor() as threads:
        check_script(server)
        held = threads.submit(http.get, f"{server.url}/updates/news", timeout=30)
        wait_until_held(f"{server.url}/send-update/news")
        assert send(server, "42").status_code == 204
        assert held.result().json() == NEWS
        module = http.get(f"{server.url}/static/pushserver/updates.module.js")
        assert module.headers["Content-Type"].startswith("text/javascript")
        # runserver runs the system checks, ours included.
        assert ("runserver" in command) == ("no issues" in server.log())


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site without DEBUG, with its server's address and collected static files."""
    there = importlib.util.find_spec("whitenoise")
    need(there, "WhiteNoise", "pip install whitenoise")
    folder = tmp_path_factory.mktemp("production")
    make_site(folder, USE, ELSEWHERE, PRODUCTION)
    server = serve(folder, SERVERS[0])
    settings = folder / "project/settings.py"
    text = settings.read_text().replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    text = text.replace("DEBUG = True", "DEBUG = False")
    text = text.replace("ALLOWED_HOSTS = []", "ALLOWED_HOSTS = ['127.0.0.1']")
    settings.write_text(text)
    [_, *collect] = next(line for line in commands(PRODUCTION) if line[0] == "python")
    assert "updates.js" not in str(list(folder.rglob("*")))
    run(folder, *collect)
    with server:
        yield server


@pytest.mark.process
def test_static_files_in_production(production: ServerProcess) -> None:
    """Without DEBUG, WhiteNoise serves the collected static files."""
    check_script(production)


@pytest.mark.process
def test_another_process_publishes(production: ServerProcess) -> None:
    """With the server's address, the README's command publishes to the page."""
    [[_, *command]] = commands(ELSEWHERE)
    run(production.cwd, *command)
    answer = http.get(f"{production.url}/updates/news").json()
    assert answer == {"type": "answer", "value": 42}
