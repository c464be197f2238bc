from __future__ import annotations

import os
import subprocess
import sys

from tests import http
from tests.servers import ROOT, ServerProcess

ALONE = """
import importlib, pkgutil, sys

BLOCKED = {"channels", "daphne", "redis", "twisted", "pushserver_channels"}


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)


sys.meta_path.insert(0, Blocker())

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["pushserver"],
    ROOT_URLCONF="pushserver.urls",
    PUSH_SERVER={
        "publisher_host": sys.argv[1],
        "locations": [{"type": "publisher", "url": "/send-update/([^/]+)"}],
    },
)
django.setup()

import pushserver

for module in pkgutil.walk_packages(pushserver.__path__, "pushserver."):
    if module.name != "pushserver.management.commands.runpushserver":
        importlib.import_module(module.name)
        print(module.name)
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}

from django.core.management import call_command

call_command("check")

from pushserver.updates import send_update

print(send_update("alone", {"from": "the app alone"}).status)
"""


def test_the_app_works_without_the_server(server: ServerProcess) -> None:
    """The app publishes over HTTP without channels, daphne, redis and our server."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, f"127.0.0.1:{server.port}"],
        cwd=ROOT,
        env={name: each for name, each in os.environ.items() if "DJANGO" not in name},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *modules, status = done.stdout.split()
    assert status == "202"
    assert {
        "pushserver.conf",
        "pushserver.templatetags.pushserver",
        "pushserver.utils",
        "pushserver.views",
    } <= set(modules)
    response = http.get(f"{server.url}/interval/alone")
    assert response.json() == {"from": "the app alone"}
