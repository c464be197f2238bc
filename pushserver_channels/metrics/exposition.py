"""The metrics in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from . import names
from .snapshot import Snapshot

CONTENT_TYPE: str = CONTENT_TYPE_LATEST

_FAMILIES = {names.COUNTER: CounterMetricFamily, names.GAUGE: GaugeMetricFamily}


def build_text(snapshots: Mapping[str, Snapshot]) -> bytes:
    """Return metrics as Prometheus reads them.

    Args:
        snapshots: The metrics of each process, by its name.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshots))
    text: bytes = generate_latest(registry)
    return text


class _SnapshotCollector(Collector):
    """Gives the metrics of all processes to the client library.

    Args:
        snapshots: The metrics of each process, by its name.
    """

    def __init__(self, snapshots: Mapping[str, Snapshot]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with the values of all processes."""
        for metric in names.METRICS:
            labels = (names.PROCESS, *metric.labels)
            if metric.kind == names.HISTOGRAM:
                yield self._collect_histogram(metric, labels)
                continue
            family = _FAMILIES[metric.kind](metric.name, metric.help, labels=labels)
            for process, snapshot in self._snapshots.items():
                for name, values, value in snapshot.samples:
                    if name == metric.name and len(values) == len(metric.labels):
                        family.add_metric((process, *values), value)
            yield family

    def _collect_histogram(
        self, metric: names.Metric, labels: tuple[str, ...]
    ) -> HistogramMetricFamily:
        """Return a histogram with the durations of all processes."""
        family = HistogramMetricFamily(metric.name, metric.help, labels=labels)
        for process, snapshot in self._snapshots.items():
            found = snapshot.histograms.get(metric.name)
            if found is None:
                continue  # A process of another release.
            bounds = (*map(floatToGoString, found.bounds), "+Inf")
            buckets = list(zip(bounds, accumulate(found.counts), strict=True))
            family.add_metric((process,), buckets, found.sum)
        return family
