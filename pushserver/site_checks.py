"""System checks of the site: whether it serves what the push locations need.

They look at the settings and read source files, but use no network and import nothing
of the site. They must not warn about a correct site, so they leave what they cannot
know, such as the configuration of a web server in front, to ``pushserver_doctor``.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.urls import Resolver404, resolve

from .asgi_module import AsgiModule, find_asgi_module
from .conf import (
    ChannelLayerStoreSettings,
    Host,
    MetricsLocation,
    PublisherLocation,
    PushServerSettings,
    RedisStoreSettings,
    SubscriberLocation,
    get_settings,
)
from .conf.readers import InvalidSetting

#: The default port of ``runserver`` and Daphne.
USUAL_PORT = 8000

SCRIPT = "pushserver/updates.js"

#: The apps whose ``runserver`` is known to use WSGI.
WSGI_RUNSERVERS = ("django.core", "django.contrib.staticfiles")

_SERVE = (
    "In asgi.py write 'from pushserver_channels.routing import get_application', after"
    " get_asgi_application(), and 'application = get_application(django_application)'."
)


def check_site(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Return a message, with a hint, for each part that the push locations lack."""
    try:
        conf = get_settings()
    except InvalidSetting:
        return []  # check_settings() reports it.
    is_development = _is_served_by_development_server(conf)
    messages = [*_missing_packages(conf), *_missing_script(conf, is_development)]
    if not is_development and not _publishes_to_django(conf):
        return messages
    try:
        module = find_asgi_module()
    except LookupError:
        return messages
    if is_development:
        messages += [
            *_unserved_locations(module),
            *_wsgi_runserver(module),
            *_unserved_script(module),
        ]
    elif module is None or not module.serves_locations:
        messages.append(_publisher_host_without_locations(conf))
    return messages


def _missing_packages(conf: PushServerSettings) -> Iterator[CheckMessage]:
    """Yield an error for each store and location that needs a missing package."""
    # A site that publishes over HTTP may have its store elsewhere.
    if conf.publisher in ("http", "locmem"):
        return
    for index, location in enumerate(conf.locations):
        if isinstance(location, MetricsLocation) and not _is_installed(
            "prometheus_client"
        ):
            yield Error(
                f"PUSH_SERVER['locations'][{index}] shows metrics, which needs the"
                " package 'prometheus-client', which is not installed.",
                "pip install django-pushserver[metrics], or leave the location out.",
                id="pushserver.E002",
            )
    for name, store in conf.store.items():
        if isinstance(store, RedisStoreSettings):
            packages = ["redis", "hiredis"]
            install = "pip install django-pushserver[redis]"
        elif isinstance(store, ChannelLayerStoreSettings):
            backend = settings.CHANNEL_LAYERS[store.alias]["BACKEND"]
            packages = [backend.partition(".")[0]]
            install = f"pip install {packages[0]}"
        else:
            continue
        missing = [each for each in packages if not _is_installed(each)]
        if missing:
            yield Error(
                f"The store {name!r} needs the package {missing[0]!r}, which is not"
                " installed.",
                f"{install}, or choose another type of store.",
                id="pushserver.E002",
            )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _is_served_by_development_server(conf: PushServerSettings) -> bool:
    """Return whether the development server has to serve the push locations.

    In production a web server in front may serve them, which cannot be seen here. And a
    site that names other hosts, or publishes only over HTTP, has a separate push
    server.
    """
    return bool(
        settings.DEBUG
        and conf.first_location(SubscriberLocation)
        and conf.publisher != "http"
        and all(
            host is None or _is_usual_place(host)
            for host in (conf.subscriber_host, conf.publisher_host)
        )
    )


def _is_usual_place(host: Host) -> bool:
    """Return whether a host is the default address of Django's development server."""
    url = urlsplit(host.url)
    name = url.hostname or ""
    try:
        is_here = ip_address(name).is_loopback
    except ValueError:
        is_here = name == "localhost"
    return is_here and url.port == USUAL_PORT


def _unserved_locations(module: AsgiModule | None) -> Iterator[CheckMessage]:
    """Yield a warning if no ASGI application serves the push locations."""
    if module is not None and module.serves_locations:
        return
    yield Warning(
        "No ASGI application of this site serves the push locations: "
        + (
            "there is no asgi.py beside its URLconf, and no ASGI_APPLICATION."
            if module is None
            else f"{module.name} does not have them."
        ),
        f"{_SERVE} If another process or nginx serves them, name it in"
        " PUSH_SERVER['subscriber_host'] and ['publisher_host'].",
        id="pushserver.W007",
    )


def _wsgi_runserver(module: AsgiModule | None) -> Iterator[CheckMessage]:
    """Yield a warning if ``runserver`` does not serve the ASGI application."""
    name = module.name if module is not None else "project.asgi"
    owner = _runserver_owner()
    if owner == "daphne":
        if not getattr(settings, "ASGI_APPLICATION", None):
            yield Warning(
                "'manage.py runserver' of Daphne has nothing to serve, because"
                " ASGI_APPLICATION is not set.",
                f"Set ASGI_APPLICATION = '{name}.application'.",
                id="pushserver.W008",
            )
    elif owner in WSGI_RUNSERVERS:
        yield Warning(
            "'manage.py runserver' is Django's own, which speaks WSGI and does not"
            " serve the push locations.",
            "Put 'daphne' first in INSTALLED_APPS, before 'django.contrib.staticfiles',"
            f" and set ASGI_APPLICATION = '{name}.application'. If you never use"
            " runserver, silence this warning.",
            id="pushserver.W008",
        )


def _runserver_owner() -> str:
    """Return the app whose ``runserver`` command Django runs."""
    for config in apps.get_app_configs():
        command = Path(config.path, "management", "commands", "runserver.py")
        # WhiteNoise's command runs that of the next app.
        if command.exists() and not config.name.startswith("whitenoise."):
            return str(config.name)
    return "django.core"


def _missing_script(
    conf: PushServerSettings, is_development: bool
) -> Iterator[CheckMessage]:
    """Yield a warning if the settings do not make ``updates.js`` a static file."""
    # A site without templates has no pages that load the script.
    if not settings.TEMPLATES or not conf.first_location(SubscriberLocation):
        return
    if not apps.is_installed("django.contrib.staticfiles"):
        # In production another server may serve its files.
        if is_development:
            yield _no_script(
                "'django.contrib.staticfiles' is not in INSTALLED_APPS",
                "Add it, or let the program that serves your static files serve the"
                " script, too.",
            )
    elif not settings.STATIC_URL:
        yield _no_script("STATIC_URL is not set", "Set STATIC_URL = 'static/'.")
    elif not _is_found():
        yield _no_script(
            "no finder in STATICFILES_FINDERS finds it",
            "Add 'django.contrib.staticfiles.finders.AppDirectoriesFinder'.",
        )


def _no_script(reason: str, hint: str) -> CheckMessage:
    return Warning(f"Pages cannot load {SCRIPT}: {reason}.", hint, id="pushserver.W009")


def _is_found() -> bool:
    """Return whether a finder of static files finds ``updates.js``."""
    try:
        return finders.find(SCRIPT) is not None
    except ImproperlyConfigured:
        return True  # Django reports the error itself.


def _unserved_script(module: AsgiModule | None) -> Iterator[CheckMessage]:
    """Yield a warning if the ASGI application is served without static files."""
    if module is None or not module.serves_locations or module.serves_static:
        return
    if not settings.TEMPLATES or not apps.is_installed("django.contrib.staticfiles"):
        return
    if _runserver_owner() not in WSGI_RUNSERVERS or _serves_static_files():
        return
    yield _no_script(
        f"neither runserver nor {module.name} serves static files beside the push"
        " locations",
        "Put 'daphne' first in INSTALLED_APPS and use runserver, or wrap the Django"
        " application in django.contrib.staticfiles.handlers.ASGIStaticFilesHandler.",
    )


def _serves_static_files() -> bool:
    """Return whether Django serves static files, by a middleware or a URL."""
    if any("noise" in each or "static" in each for each in settings.MIDDLEWARE):
        return True
    url = urlsplit(settings.STATIC_URL or "")
    if url.netloc or not getattr(settings, "ROOT_URLCONF", None):
        return True  # Another host serves them, or the site has no URLs at all.
    try:
        resolve(f"{url.path.rstrip('/')}/{SCRIPT}")
    except Resolver404:
        return False
    return True


def _publishes_to_django(conf: PushServerSettings) -> bool:
    """Return whether updates are sent over HTTP to Django's default address."""
    location, host = conf.first_location(PublisherLocation), conf.publisher_host
    if location is None or host is None or not _is_usual_place(host):
        return False
    return conf.publisher == "http" or (
        conf.publisher == "auto" and not conf.store[location.store].shared
    )


def _publisher_host_without_locations(conf: PushServerSettings) -> CheckMessage:
    """Return the warning that updates are sent to a Django without push locations."""
    assert conf.publisher_host is not None
    return Warning(
        f"PUSH_SERVER['publisher_host'] is {conf.publisher_host.location!r}, where"
        " Django usually is, and no ASGI application of it serves the push locations.",
        "If nginx serves them, leave publisher_host out, as the configuration that"
        " 'manage.py pushserver_nginx' prints then listens for updates on"
        " 127.0.0.1:8001, or name the address where nginx listens. If Django is to"
        f" serve them: {_SERVE}",
        id="pushserver.W010",
    )
