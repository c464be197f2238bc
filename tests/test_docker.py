"""The example in containers.

The tests have no Docker. They run the commands of the ``Dockerfile`` in a folder, with
Valkey, Daphne and nginx of this machine in place of the containers.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import http
from .conformance.servers import Nginx, need_nginx
from .servers import ROOT, ServerProcess, free_port, wait_until_held
from .valkey import Valkey

FOLDER = ROOT / "example_project/docker"


def read_stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage of the Dockerfile."""
    stages: dict[str, list[tuple[str, str]]] = {}
    for line in (FOLDER / "Dockerfile").read_text().splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            if word == "FROM":
                stages[rest.partition(" AS ")[2]] = []
            [*stages.values()][-1].append((word, rest))
    return stages


def find(stage: str, word: str) -> list[str]:
    """Return the arguments of the instructions of a kind in a stage."""
    return [rest for each, rest in read_stages()[stage] if each == word]


def read_compose() -> dict[str, Any]:
    """Return the services, networks and volumes of the compose file."""
    compose: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return compose


def test_services_are_built_from_the_stages() -> None:
    """Each service that is built names the Dockerfile, its stage and the folder."""
    services = read_compose()["services"]
    built = {name: each["build"] for name, each in services.items() if "build" in each}
    assert {name: each["target"] for name, each in built.items()} == {
        "nginx": "proxy",
        "site": "site",
    }
    for each in built.values():
        context = (FOLDER / each["context"]).resolve()
        assert context == ROOT
        assert context / each["dockerfile"] == FOLDER / "Dockerfile"


def test_nothing_runs_as_root() -> None:
    """Daphne runs as nobody, nginx from an image without root, Valkey by its image."""
    words = [word for word, _ in read_stages()["site"]]
    assert words.index("USER") < words.index("CMD")
    assert find("site", "USER") == ["nobody"]
    assert find("proxy", "FROM")[0].startswith("nginxinc/nginx-unprivileged:")


def test_ports_and_names_fit() -> None:
    """nginx listens where the host's port leads, and asks Daphne where it listens."""
    services = read_compose()["services"]
    [configure] = [line for line in find("site", "RUN") if "pushserver_nginx" in line]
    words = shlex.split(configure)
    host, port = words[words.index("--django") + 1].split(":")
    command = json.loads(find("site", "CMD")[0])
    assert host in services
    assert port == command[command.index("-p") + 1]
    assert find("site", "EXPOSE") == [port]
    listen = words[words.index("--listen") + 1]
    assert find("proxy", "EXPOSE") == [listen]
    assert services["nginx"]["ports"] == [f"127.0.0.1:{listen}:{listen}"]


def test_environment_of_the_site() -> None:
    """The settings read what the compose file sets, and it names what is there."""
    compose = read_compose()
    environment = compose["services"]["site"]["environment"]
    settings = (FOLDER / "settings.py").read_text()
    assert set(environment) == set(re.findall(r"environ\S*[\[(]\"(\w+)\"", settings))
    assert "://valkey:6379/" in environment["REDIS_URL"]
    assert "valkey" in compose["services"]
    [network] = compose["networks"]["default"]["ipam"]["config"]
    assert environment["PROXIES"] == network["subnet"]


def test_containers_are_healthy_and_stop_in_time() -> None:
    """Each service has a health check, and Daphne the time to answer what it holds."""
    services = read_compose()["services"]
    checked = {name for name, each in services.items() if "healthcheck" in each}
    assert checked | {"site"} == set(services)
    assert len(find("site", "HEALTHCHECK")) == 1
    assert services["site"]["stop_grace_period"] == "35s"
    waited = services["site"]["depends_on"] | services["nginx"]["depends_on"]
    assert waited == {name: {"condition": "service_healthy"} for name in waited}


def test_the_build_has_what_the_package_needs() -> None:
    """What builds the package and the example is sent to Docker."""
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert {"setup.cfg", "pyproject.toml", "README.rst", "LICENSE"} < sent
    assert {"pushserver", "pushserver_channels", "example_project"} < sent
    assert all((ROOT / name).exists() for name in sent)


class Containers:
    """The site and nginx as the Dockerfile builds and starts them, without Docker.

    Args:
        folder: An empty folder, in place of ``/site``.
        valkey: The store.
    """

    def __init__(self, folder: Path, valkey: Valkey) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = {
            **self.read_variables(),
            "SECRET_KEY": "a" * 50,
            "REDIS_URL": valkey.url,
            "PROXIES": "127.0.0.1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        shutil.copytree(
            ROOT / "example_project",
            folder / "example_project",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for line in find("site", "RUN"):
            if not line.startswith("pip install"):
                self.run(line)
        command = json.loads(find("site", "CMD")[0])
        self.site = ServerProcess(
            *(self.here(each) for each in command), env=self.env, cwd=folder
        )
        # The commands above are those of port 8000.
        self.site.port = self.port

    def read_variables(self) -> dict[str, str]:
        """Return the variables of the image."""
        [line] = find("site", "ENV")
        return dict(each.split("=", 1) for each in shlex.split(line))

    def here(self, text: str) -> str:
        """Return a text with the addresses of this machine."""
        text = text.replace("site:8000", f"127.0.0.1:{self.port}")
        return text.replace("8000", str(self.port)).replace("0.0.0.0", "127.0.0.1")

    def run(self, command: str) -> None:
        """Run a command of a shell in the folder."""
        subprocess.run(
            self.here(command),
            shell=True,
            check=True,
            cwd=self.folder,
            env={**os.environ, **self.env},
            timeout=60,
        )

    def is_healthy(self) -> bool:
        """Return whether the health check of the image passes."""
        [line] = find("site", "HEALTHCHECK")
        command = json.loads(line.partition(" CMD ")[2])
        done = subprocess.run(
            [self.here(each) for each in command],
            env={**os.environ, **self.env},
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
        return done.returncode == 0

    def configure_nginx(self, port: int, directory: Path) -> str:
        """Return the configuration of nginx, with the folders of this machine."""
        text = (self.folder / "nginx.conf").read_text()
        for old, new in (
            ("listen 8080;", f"listen 127.0.0.1:{port};"),
            ("user nginx;", f"user {getuser()};"),
            ("/tmp/nginx", f"{directory}/nginx"),
            ("/var/log/nginx/", f"{directory}/"),
        ):
            assert old in text
            text = text.replace(old, new)
        return text


@pytest.mark.process
@pytest.mark.left_to_all("the example in containers")
def test_the_site_in_containers(tmp_path: Path) -> None:
    """It is healthy, serves pages and static files, and a post reaches a poll."""
    need_nginx()
    with Valkey() as valkey:
        containers = Containers(tmp_path, valkey)
        nginx = Nginx(containers.configure_nginx)
        with (
            containers.site as site,
            nginx,
            http.Client(base_url=nginx.url) as client,
            ThreadPoolExecutor() as threads,
        ):
            assert containers.is_healthy()
            assert client.get("/health/live").status_code == 200
            page = client.get("/").text
            for script in re.findall(r'"(/static/[^"]+)"', page):
                assert client.get(script).status_code == 200
            held = threads.submit(http.get, f"{nginx.url}/updates/board", timeout=30)
            wait_until_held(f"{site.url}/send-update/board")
            token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
            form = {"csrfmiddlewaretoken": token, "text": "hello"}
            posted = client.post("/post", data=form, headers={"Origin": nginx.url})
            assert posted.status_code == 204
            assert "hello" in held.result().text
            assert site.stop() == 0
