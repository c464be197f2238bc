from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import checks
from django.core.management import call_command

from pushserver import site_checks
from pushserver.asgi_module import MAX_MODULES, AsgiModule, find_asgi_module

STORE = {"type": "memory", "max_messages": 100}
PUBLISHER = {"type": "publisher", "url": "/send-update/([^/]+)"}
SUBSCRIBER = {"type": "subscriber", "url": "/updates/([^/]+)"}
LOCATIONS = [PUBLISHER, SUBSCRIBER]
ELSEWHERE = {"publisher_host": "127.0.0.1:8001", "subscriber_host": "127.0.0.1:8001"}
AT_DJANGO = {"publisher_host": "127.0.0.1:8000", "subscriber_host": "localhost:8000"}

PLAIN = "from django.core.asgi import get_asgi_application as get\n"
SERVING = PLAIN + "from pushserver_channels.routing import get_application\n"

_numbers = itertools.count()

#: Writes a package with these modules and returns its name.
Project = Callable[..., str]


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: LazySettings
) -> Project:
    """Makes projects whose asgi.py is found like that of startproject."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(asgi: str | None = None, **modules: str) -> str:
        name = f"checked_project_{next(_numbers)}"
        folder = tmp_path / name
        for path, source in {"__init__": "", "asgi": asgi, **modules}.items():
            if source is not None:
                file = folder / f"{path.replace('.', '/')}.py"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(source.replace("PROJECT", name))
        settings.WSGI_APPLICATION = f"{name}.wsgi.application"
        settings.ROOT_URLCONF = None
        settings.SETTINGS_MODULE = f"{name}.settings.production"
        return name

    return make


@pytest.fixture
def asgi_runserver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daphne's runserver takes precedence."""
    monkeypatch.setattr(site_checks, "_runserver_owner", lambda: "daphne")


def run(settings: LazySettings, debug: bool = True, **conf: Any) -> list[str]:
    """Return the ids of the messages from the site's checks."""
    return [message.id or "" for message in say(settings, debug, **conf)]


def say(
    settings: LazySettings, debug: bool = True, **conf: Any
) -> list[checks.CheckMessage]:
    settings.DEBUG = debug
    settings.STATIC_URL = "static/"
    settings.INSTALLED_APPS = ["django.contrib.staticfiles", "pushserver"]
    settings.PUSH_SERVER = {"store": STORE, "locations": LOCATIONS, **conf}
    messages = site_checks.check_site(None)
    assert all(message.hint for message in messages)
    return messages


# The source of asgi.py


@pytest.mark.parametrize(
    ("modules", "serves"),
    [
        ({"asgi": SERVING}, True),
        ({"asgi": PLAIN}, False),
        ({"asgi": "from pushserver_channels import routing"}, True),
        ({"asgi": "import pushserver_channels.routing as push"}, True),
        ({"asgi": "def make():\n    from pushserver_channels.routing import x"}, True),
        (
            {"asgi": "load('pushserver_channels.routing.get_application')"},
            True,
        ),
        ({"asgi": "# from pushserver_channels.routing import get_application"}, False),
        ({"asgi": "'''See pushserver_channels.routing for more.'''"}, False),
        ({"asgi": "from pushserver_channels.collector import tune_collector"}, False),
        ({"asgi": "from PROJECT.routing import application", "routing": SERVING}, True),
        ({"asgi": "from .routing import application", "routing": SERVING}, True),
        ({"asgi": "from . import routing", "routing": SERVING}, True),
        ({"asgi": "import PROJECT.web.app", "web.app": SERVING}, True),
        (
            {
                "asgi": "from .web import application",
                "web.__init__": "from .app import application",
                "web.app": "from ..routing import application",
                "routing": SERVING,
            },
            True,
        ),
        ({"asgi": "from .routing import application", "routing": PLAIN}, False),
        ({"asgi": "from .a import b", "a": "from .asgi import c"}, False),
        ({"asgi": "import channels.routing, redis, os.path, no_such_module"}, False),
    ],
)
def test_asgi_modules_are_read_not_imported(
    modules: dict[str, str], serves: bool, project: Project
) -> None:
    """The push locations are found in the project's modules that asgi.py imports."""
    name = project(**{key: f"{each}\n" for key, each in modules.items()})
    module = find_asgi_module()
    assert module is not None
    assert module[:2] == (f"{name}.asgi", serves)
    assert not [each for each in sys.modules if each.startswith(name)]


@pytest.mark.parametrize("source", ["def (", "x = '\\ud800", "\0"])
def test_unreadable_module_gives_no_warning(
    source: str, project: Project, settings: LazySettings
) -> None:
    """A module with an error gives no warning; the server will report the error."""
    project(source)
    with pytest.raises(LookupError):
        find_asgi_module()
    assert run(settings) == []


def test_number_of_read_modules_is_limited(
    project: Project, settings: LazySettings
) -> None:
    """The number of modules that the checks read is limited."""
    many = {
        f"m{number}": f"from . import m{number + 1}\n" for number in range(MAX_MODULES)
    }
    project("from . import m0\n", **many)
    with pytest.raises(LookupError):
        find_asgi_module()
    assert run(settings) == []


def test_asgi_application_takes_precedence(
    project: Project, settings: LazySettings
) -> None:
    """ASGI_APPLICATION takes precedence over the default module."""
    name = project(PLAIN, routing=SERVING)
    settings.ASGI_APPLICATION = f"{name}.routing.application"
    assert find_asgi_module() == AsgiModule(f"{name}.routing", True, False)
    settings.ASGI_APPLICATION = "no_such_module.application"
    with pytest.raises(LookupError):
        find_asgi_module()


@pytest.mark.parametrize(
    "line",
    [
        "from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler",
        "from starlette.staticfiles import StaticFiles",
        "from whitenoise import WhiteNoise",
    ],
)
def test_static_files_handler_is_found(line: str, project: Project) -> None:
    """An import of a static files handler counts as serving static files."""
    project(f"{SERVING}{line}\n")
    module = find_asgi_module()
    assert module is not None
    assert module.serves_static


# Serving the locations


@pytest.mark.usefixtures("asgi_runserver")
def test_unserved_locations_are_a_warning(
    project: Project, settings: LazySettings
) -> None:
    """W007 names the module, and what to add to it."""
    name = project(PLAIN)
    settings.ASGI_APPLICATION = f"{name}.asgi.application"
    (message,) = say(settings)
    assert message.id == "pushserver.W007"
    assert f"{name}.asgi" in message.msg
    assert "pushserver_channels.routing import get_application" in str(message.hint)
    assert run(settings, **AT_DJANGO) == ["pushserver.W007"]


def test_missing_asgi_module_is_a_warning(
    project: Project, settings: LazySettings
) -> None:
    """A site with only a WSGI application gets both warnings, W007 and W008."""
    project(None)
    assert run(settings) == ["pushserver.W007", "pushserver.W008"]


@pytest.mark.parametrize(
    ("debug", "conf"),
    [
        (False, {}),
        (True, ELSEWHERE),
        (True, {"publisher_host": "nginx:80"}),
        (True, {"publisher_host": "127.0.0.1:8001"}),
        (True, {"subscriber_host": "push.example.com"}),
        (True, {"publisher": "http"}),
        (True, {"locations": [PUBLISHER]}),
        (True, {"locations": []}),
    ],
)
def test_push_server_elsewhere_needs_no_application(
    debug: bool, conf: dict[str, Any], project: Project, settings: LazySettings
) -> None:
    """There is no warning if nginx or runpushserver may serve the locations."""
    project(PLAIN)
    assert run(settings, debug, **conf) == []


@pytest.mark.parametrize("conf", [{}, AT_DJANGO])
def test_complete_site_gives_no_warning(
    conf: dict[str, Any],
    project: Project,
    settings: LazySettings,
    asgi_runserver: None,
) -> None:
    """With the locations in asgi.py and Daphne's runserver there is no warning."""
    name = project(SERVING)
    settings.ASGI_APPLICATION = f"{name}.asgi.application"
    for debug in (True, False):
        assert run(settings, debug, **conf) == []


# runserver


def test_wsgi_runserver_is_a_warning(project: Project, settings: LazySettings) -> None:
    """W008 names what to add to INSTALLED_APPS, and the application."""
    name = project(SERVING + "import whitenoise\n")
    (message,) = say(settings)
    assert message.id == "pushserver.W008"
    assert "'daphne' first in INSTALLED_APPS" in str(message.hint)
    assert f"ASGI_APPLICATION = '{name}.asgi.application'" in str(message.hint)


def test_runserver_without_asgi_application_is_a_warning(
    project: Project, settings: LazySettings, asgi_runserver: None
) -> None:
    """W008 names the value that ASGI_APPLICATION needs."""
    name = project(SERVING)
    settings.ASGI_APPLICATION = None
    (message,) = say(settings)
    assert message.id == "pushserver.W008"
    assert f"ASGI_APPLICATION = '{name}.asgi.application'" in str(message.hint)


def test_unknown_runserver_gives_no_warning(
    project: Project, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runserver of another app may support ASGI, so there is no warning."""
    monkeypatch.setattr(site_checks, "_runserver_owner", lambda: "some.app")
    project(SERVING)
    assert run(settings) == []


# updates.js


def script_fault(settings: LazySettings) -> str:
    """Return the only message of the checks, W009 about the script."""
    (message,) = site_checks.check_site(None)
    assert message.id == "pushserver.W009"
    assert message.hint
    return message.msg


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"INSTALLED_APPS": ["pushserver"]}, "django.contrib.staticfiles"),
        ({"STATIC_URL": None}, "STATIC_URL"),
        ({"STATICFILES_FINDERS": []}, "finder"),
    ],
)
def test_missing_static_url_is_a_warning(
    changes: dict[str, Any],
    word: str,
    project: Project,
    settings: LazySettings,
    asgi_runserver: None,
) -> None:
    """W009 names the missing setting in development."""
    name = project(SERVING)
    settings.ASGI_APPLICATION = f"{name}.asgi.application"
    assert run(settings) == []
    for setting, value in changes.items():
        setattr(settings, setting, value)
    assert word in script_fault(settings)
    settings.TEMPLATES = []
    assert site_checks.check_site(None) == []


def test_unserved_static_files_are_a_warning(
    project: Project, settings: LazySettings
) -> None:
    """W009 appears if no server serves static files; middleware may serve them."""
    name = project(SERVING, urls="urlpatterns = []")
    settings.ROOT_URLCONF = f"{name}.urls"
    assert run(settings) == ["pushserver.W008", "pushserver.W009"]
    settings.MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware"]
    assert run(settings) == ["pushserver.W008"]


def test_static_files_in_production_give_no_warning(
    project: Project, settings: LazySettings
) -> None:
    """In production other programs may serve the files, so there is no warning."""
    project(SERVING)
    run(settings, debug=False)
    settings.INSTALLED_APPS = ["pushserver"]
    assert site_checks.check_site(None) == []


# Packages


@pytest.mark.parametrize(
    ("store", "package"),
    [
        ({"type": "redis"}, "redis"),
        ({"type": "redis"}, "hiredis"),
        ({"type": "channel_layer"}, "channels_redis"),
    ],
)
def test_missing_package_of_a_store_is_an_error(
    store: dict[str, Any],
    package: str,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E002 names the package and the command that installs it."""
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}
    }
    conf = {"store": {**store, "max_messages": 1}}
    assert run(settings, debug=False, **conf) == []
    monkeypatch.setattr(
        site_checks, "find_spec", lambda name: None if name == package else name
    )
    (message,) = say(settings, debug=False, **conf)
    assert message.id == "pushserver.E002"
    assert message.is_serious()
    assert f"{package!r}" in message.msg
    assert "pip install" in str(message.hint)
    assert run(settings, debug=False, **conf, publisher="http") == []


def test_missing_package_of_metrics_is_an_error(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E002 names the extra that installs what a metrics location needs."""
    conf = {
        "store": {"type": "memory", "max_messages": 1},
        "locations": [{"type": "metrics", "url": "/metrics"}],
    }
    assert run(settings, debug=False, **conf) == []
    missing = "prometheus_client"
    monkeypatch.setattr(
        site_checks, "find_spec", lambda name: None if name == missing else name
    )
    (message,) = say(settings, debug=False, **conf)
    assert message.id == "pushserver.E002"
    assert message.msg.startswith("PUSH_SERVER['locations'][0] shows metrics")
    assert "pip install django-pushserver[metrics]" in str(message.hint)


# publisher_host


@pytest.mark.parametrize("publisher", ["auto", "http"])
def test_updates_sent_to_a_django_without_locations_are_a_warning(
    publisher: str, project: Project, settings: LazySettings
) -> None:
    """W010 gives the address at which nginx listens for updates."""
    project(PLAIN)
    host = "127.0.0.1:8000"
    (message,) = say(settings, False, publisher_host=host, publisher=publisher)
    assert message.id == "pushserver.W010"
    assert host in message.msg
    assert "127.0.0.1:8001" in str(message.hint)


@pytest.mark.parametrize(
    ("asgi", "conf"),
    [
        (SERVING, {"publisher_host": "127.0.0.1:8000"}),
        (PLAIN, {"publisher_host": "127.0.0.1:8001"}),
        (PLAIN, {"publisher_host": "127.0.0.1:80"}),
        (PLAIN, {"publisher_host": "push.example.com:8000"}),
        (PLAIN, {}),
        (PLAIN, {"publisher_host": "127.0.0.1:8000", "store": {"type": "redis"}}),
    ],
)
def test_updates_sent_to_a_possible_push_server_give_no_warning(
    asgi: str, conf: dict[str, Any], project: Project, settings: LazySettings
) -> None:
    """There is no W010 if nginx or a shared store may receive the updates."""
    project(asgi)
    assert run(settings, False, **conf) == []


# A new project


@pytest.mark.process
def test_hints_complete_a_new_project(tmp_path: Path) -> None:
    """Each step that a hint names removes its warning, until none is left."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    env.pop("DJANGO_SETTINGS_MODULE", None)

    conf = {"store": STORE, "locations": LOCATIONS}

    def check(name: str, asgi: str | None, *apps: str, **others: str) -> str:
        """Return what the checks report for a new project with these changes."""
        folder = tmp_path / name
        folder.mkdir()
        call_command("startproject", "project", str(folder))
        with (folder / "project/settings.py").open("a") as settings:
            settings.write(f"\nPUSH_SERVER = {conf!r}\n")
            settings.write(f"INSTALLED_APPS[:0] = {list(apps)!r}\n")
            settings.writelines(f"{key} = {value!r}\n" for key, value in others.items())
        if asgi is not None:
            (folder / "project/asgi.py").write_text(asgi)
        done = subprocess.run(
            [sys.executable, "manage.py", "check"],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout + done.stderr

    application = {"ASGI_APPLICATION": "project.asgi.application"}
    with ThreadPoolExecutor() as threads:
        before = threads.submit(check, "before", None, "pushserver")
        after = threads.submit(
            check, "after", SERVING, "daphne", "pushserver", **application
        )
    assert "pushserver.W007" in before.result()
    assert "pushserver.W008" in before.result()
    assert "no issues" in after.result()
