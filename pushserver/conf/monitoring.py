"""The settings of the locations that show how a process of the push server is."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from pushserver.addresses import AllowedClients

from .base_location import Location
from .readers import InvalidSetting, addresses, internal_addresses, setting, text

#: What a health location is asked for, the last part of its path.
LIVE, READY = "live", "ready"

_PATH = re.compile(r"/[A-Za-z0-9._~/-]*", re.ASCII)


def _read_path(place: str, value: object) -> str:
    path = text(place, value)
    if not _PATH.fullmatch(path) or "//" in path:
        raise InvalidSetting(
            place,
            f"is {value!r}",
            "It must be a plain path of letters, digits and /.-_~, as in '/metrics',"
            " and not a regular expression.",
        )
    return path


def _metrics_path(place: str, value: object) -> re.Pattern[str]:
    """Return a pattern for the path, which is its group, too."""
    return re.compile(f"({re.escape(_read_path(place, value))})")


def _health_paths(place: str, value: object) -> re.Pattern[str]:
    """Return a pattern for the two paths below a path."""
    path = _read_path(place, value).rstrip("/")
    return re.compile(f"{re.escape(path)}/({LIVE}|{READY})")


def _unescape(pattern: str) -> str:
    """Return the path that an escaped pattern matches."""
    return pattern.replace("\\", "")


@dataclass(frozen=True)
class MonitoringLocation(Location, ABC):
    """A location that shows how this process is, and has no channels.

    Attributes:
        allow_from: The networks whose clients are shown everything, and whether clients
            of unix sockets are; None if every client is.
    """

    allow_from: AllowedClients | None = setting(
        addresses, default_factory=internal_addresses
    )

    @property
    @abstractmethod
    def paths(self) -> tuple[str, ...]:
        """The paths that it answers."""


@dataclass(frozen=True)
class MetricsLocation(MonitoringLocation):
    """A location that shows metrics, as Prometheus reads them.

    If its store is in Redis, it shows the metrics of all processes that use it.
    """

    url: re.Pattern[str] = setting(_metrics_path)

    @property
    def paths(self) -> tuple[str, ...]:
        return (_unescape(self.url.pattern[1:-1]),)

    @property
    def consumers(self) -> tuple[str, ...]:
        return ("pushserver_channels.consumers.metrics.MetricsConsumer",)


@dataclass(frozen=True)
class HealthLocation(MonitoringLocation):
    """A location that tells whether this process lives, and whether it is ready."""

    url: re.Pattern[str] = setting(_health_paths)

    @property
    def paths(self) -> tuple[str, ...]:
        root = _unescape(self.url.pattern.rpartition("/")[0])
        return (f"{root}/{LIVE}", f"{root}/{READY}")

    @property
    def consumers(self) -> tuple[str, ...]:
        return ("pushserver_channels.consumers.health.HealthConsumer",)
