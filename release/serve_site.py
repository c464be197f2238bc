"""Serve a small site with the installed package, publish a message and receive it.

It needs the package and the standard library: ``python -I release/serve_site.py``, so
that the package comes from the environment, and not from this folder.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep

#: Seconds to wait for the server to start, and for each answer.
PATIENCE = 60

SITE = """
from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY="a small site",
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["django.contrib.staticfiles", "pushserver"],
    ROOT_URLCONF="pushserver.urls",
    STATIC_URL="/static/",
    PUSH_SERVER={
        "store": {"type": "memory", "max_messages": 10, "message_timeout": 600},
        "locations": (
            {"type": "publisher", "url": "/send-update/([^/]+)"},
            {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True},
        ),
    },
)

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from pushserver_channels.routing import get_application

application = get_application(django_application)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "small_site.py").write_text(SITE, encoding="utf-8")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "daphne", "-v", "0"),
                *("-b", "127.0.0.1", "-p", str(port)),
                "small_site:application",
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
        )
        try:
            wait_until_up(process, port)
            check(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(PATIENCE)
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("django-pushserver", "Django", "daphne")
    )
    print(f"Python {sys.version.partition(' ')[0]}, {versions}: it serves a site.")


def wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server accepts connections; exit if it does not."""
    end = monotonic() + PATIENCE
    while monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            sleep(0.05)
    sys.exit("The server did not start.")


def check(url: str) -> None:
    """Check that a message arrives, and that the page's script is served."""
    post = urllib.request.Request(
        f"{url}/send-update/news", b"hello", {"Content-Type": "text/plain"}
    )
    status, body = ask(post)
    expect(status == 202, f"The POST was answered {status} {body!r}.")
    status, body = ask(f"{url}/updates/news")
    expect((status, body) == (200, b"hello"), f"The GET was answered {status} {body!r}")
    status, body = ask(f"{url}/static/pushserver/updates.js")
    expect(b"subscribe" in body, f"updates.js was answered {status}.")


def ask(request: urllib.request.Request | str) -> tuple[int, bytes]:
    """Return the status and the body of an answer; raise ``OSError`` from 400 on."""
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.status, answer.read()


def expect(is_so: bool, fault: str) -> None:
    """Exit with the fault unless the condition holds."""
    if not is_so:
        sys.exit(fault)


if __name__ == "__main__":
    main()
