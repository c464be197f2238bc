"""The metrics of this process, for the locations that show them."""

from __future__ import annotations

from importlib.util import find_spec

from django.core.exceptions import ImproperlyConfigured

from pushserver.conf import MetricsLocation, PushServerSettings, get_settings
from pushserver_channels.counters import counters
from pushserver_channels.health import Health
from pushserver_channels.passthrough import Dispatcher

from .sharing import SnapshotSharing
from .snapshot import Snapshot, take_snapshot


def check_metrics(settings: PushServerSettings) -> None:
    """Raise ``ImproperlyConfigured`` if metrics cannot be shown where they should."""
    for index, location in enumerate(settings.locations):
        if isinstance(location, MetricsLocation) and not find_spec("prometheus_client"):
            raise ImproperlyConfigured(
                f"PUSH_SERVER['locations'][{index}] shows metrics, which needs the"
                " package prometheus-client: pip install django-pushserver[metrics],"
                " or leave the location out."
            )


class Metrics:
    """Takes the metrics of this process, and shows them where a location does.

    Args:
        settings: The settings in ``PUSH_SERVER``.
        health: Finds out whether the stores answer.
        dispatcher: Makes the requests to passthrough views, None if there are none.
    """

    def __init__(
        self,
        settings: PushServerSettings,
        health: Health,
        dispatcher: Dispatcher | None,
    ) -> None:
        self._settings = settings
        self._health = health
        self._dispatcher = dispatcher
        stores = {
            each.store
            for each in settings.locations
            if isinstance(each, MetricsLocation)
        }
        counters.is_timing = bool(stores)
        self._sharing = {
            each: SnapshotSharing(each, self.take, self._is_current) for each in stores
        }

    def start(self) -> None:
        """Begin to show the metrics to other processes, on the running event loop."""
        for each in self._sharing.values():
            each.start()

    def find_sharing(self, location: MetricsLocation) -> SnapshotSharing:
        """Return what reads the metrics of all processes for a location."""
        return self._sharing[location.store]

    def _is_current(self) -> bool:
        return get_settings() is self._settings

    async def take(self) -> Snapshot:
        """Return the metrics of this process now."""
        stores = await self._health.check_stores()
        waiting = 0 if self._dispatcher is None else self._dispatcher.waiting
        return take_snapshot(stores, waiting)
