"""Lets the dashboard ask this process, if the site has it."""

from __future__ import annotations

from django.apps import apps

from pushserver.conf import PushServerSettings
from pushserver_channels.health import Health
from pushserver_channels.metrics.of_process import Metrics

from .responder import Responder, responders

#: The app of the dashboard.
APP = "pushserver.dashboard"


def start_responders(
    settings: PushServerSettings, health: Health, metrics: Metrics
) -> None:
    """Answer the dashboard in this process, on the running event loop.

    Does nothing if the app is not installed.

    Args:
        settings: The settings in ``PUSH_SERVER``.
        health: Finds out whether the process is able to serve.
        metrics: Takes its metrics.
    """
    for responder in responders.values():
        responder.stop()
    responders.clear()
    if not apps.is_installed(APP):
        return
    for store in settings.used_stores:
        responder = Responder(store, health.find_faults, metrics.take)
        responders[store] = responder
        responder.start()
