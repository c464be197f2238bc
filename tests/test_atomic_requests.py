from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .servers import ROOT

SITE = """
import sys

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="tests",
    ALLOWED_HOSTS=["*"],
    INTERNAL_IPS=["127.0.0.1"],
    INSTALLED_APPS=["pushserver"],
    ROOT_URLCONF="pushserver.urls",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"]},
    },
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": sys.argv[1],
            "ATOMIC_REQUESTS": sys.argv[2] == "atomic",
        }
    },
)
django.setup()

from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client

from pushserver.signals import channel_subscribe


def execute(statement, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return cursor.fetchall()


execute("CREATE TABLE visit (who TEXT UNIQUE)")


def first(**kwargs):
    execute("INSERT INTO visit VALUES ('first')")


def failing(**kwargs):
    execute("INSERT INTO visit VALUES ('failing')")
    execute("INSERT INTO visit VALUES ('first')")  # Which there is already.


def exiting(**kwargs):
    execute("INSERT INTO visit VALUES ('exiting')")
    sys.exit()


async def asynchronous(**kwargs):
    await sync_to_async(execute)("INSERT INTO visit VALUES ('asynchronous')")


def last(**kwargs):
    execute("INSERT INTO visit VALUES ('last')")


for receiver in (first, failing, exiting, asynchronous, last):
    channel_subscribe.connect(receiver)
answer = Client().post("/", {"channel_id": "a", "subscribe": "1"})
assert answer.status_code == 200
print(*(who for (who,) in execute("SELECT who FROM visit ORDER BY who")))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("mode", "written"),
    [
        ("atomic", "asynchronous first last"),
        ("plain", "asynchronous exiting failing first last"),
    ],
)
def test_failing_receiver_rolls_back_its_own_writes(
    mode: str, written: str, tmp_path: Path
) -> None:
    """A failing receiver rolls back only its own writes, all with ATOMIC_REQUESTS."""
    done = subprocess.run(
        [sys.executable, "-c", SITE, str(tmp_path / "db.sqlite3"), mode],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == written.split()
    # Each failure is logged.
    assert "UNIQUE constraint failed" in done.stderr
