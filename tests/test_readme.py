"""Follow the README literally in a new site."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

import httpx
import pytest

from . import http
from .conformance.servers import need
from .guides.following import Reader, serve
from .guides.sites import find_page, make_site, read_page
from .servers import ROOT, ServerProcess, wait_until_held

SCRIPT = ROOT / "pushserver/static/pushserver/updates.js"
SERVERS = [
    ["daphne", "project.asgi:application"],
    ["python", "manage.py", "runserver"],
    ["python", "manage.py", "runpushserver", "--allrequests"],
]
NEWS = {"type": "answer", "value": "42"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site that startproject and the README have made."""
    return make_site(tmp_path_factory.mktemp("site"))


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
    text = find_page("README").read_text()
    assert all(" ".join(command) in text for command in SERVERS)


def test_links_work_on_the_package_index() -> None:
    """All links of the README are absolute, and no text needs Sphinx."""
    text = find_page("README").read_text()
    links = re.findall(r"<([^<>\s]+)>`_", text) + re.findall(r"image:: (\S+)", text)
    assert len(links) > 5
    assert [link for link in links if not link.startswith("https://")] == []
    assert re.findall(r":[a-z:]+:`", text) == []


@pytest.mark.parametrize("kind", ["tutorial", "howto", "reference", "explanation"])
def test_links_lead_to_pages(kind: str) -> None:
    """The README links to each kind of documentation, and these pages exist."""
    base = "https://django-pushserver.readthedocs.io/en/latest/"
    text = find_page("README").read_text()
    pages = re.findall(rf"{base}(\S+)\.html", text)
    assert f"{kind}/index" in pages
    assert [page for page in pages if not find_page(page).exists()] == []


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
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The site without DEBUG, with its server's address and collected static files."""
    there = importlib.util.find_spec("whitenoise")
    need(there, "WhiteNoise", "pip install whitenoise")
    folder = tmp_path_factory.mktemp("production")
    make_site(folder)
    settings = folder / "project/settings.py"
    text = settings.read_text().replace("DEBUG = True", "DEBUG = False")
    text = text.replace("ALLOWED_HOSTS = []", "ALLOWED_HOSTS = ['127.0.0.1']")
    settings.write_text(text)
    assert "updates.js" not in str(list(folder.rglob("*")))
    with Reader(folder) as reader:
        reader.follow(read_page("howto/systemd"))
        blocks = read_page("howto/processes")
        reader.follow(takewhile(lambda block: block.verb != "run", blocks))
        yield reader


@pytest.mark.process
def test_static_files_in_production(production: Reader) -> None:
    """Without DEBUG, WhiteNoise serves the collected static files."""
    check_script(production.server)


@pytest.mark.process
def test_another_process_publishes(production: Reader) -> None:
    """With the server's address, the guide's command publishes to the page."""
    command = next(
        block for block in read_page("howto/processes") if block.verb == "run"
    )
    production.follow([command])
    answer = http.get(f"{production.server.url}/updates/news").json()
    assert answer == {"type": "answer", "value": 42}
