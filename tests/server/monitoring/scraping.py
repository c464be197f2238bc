"""Read metrics as Prometheus does."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pushserver_channels.metrics.names import METRICS
from tests.server.exchanges import Site

#: The labels of each metric in their order; "le" is that of a histogram's buckets.
_LABELS = {each.name.removesuffix("_total"): each.labels for each in METRICS}


def read_values(text: str) -> dict[tuple[str, ...], float]:
    """Return the values of all samples, by name and labels without the process."""
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels["process"]
            names = (*_LABELS[family.name], "le")
            labels = [sample.labels[each] for each in names if each in sample.labels]
            key = (sample.name.removeprefix("pushserver_"), *labels)
            values[key] = sample.value
    return values


async def scrape(site: Site) -> dict[tuple[str, ...], float]:
    """Return the values that a site shows now."""
    answer = await site.ask("GET", "/metrics")
    assert answer.status == 200, answer.body
    return read_values(answer.body.decode())
