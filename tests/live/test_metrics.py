"""The metrics of several processes that share a store in Redis."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import LOCATIONS, daphne, wait_until
from tests.valkey import Valkey


def test_one_process_shows_the_metrics_of_all() -> None:
    """A scrape of any process gives what each of them has counted."""
    with Valkey() as valkey:
        conf = {
            "store": {"type": "redis", "url": valkey.url},
            "locations": [*LOCATIONS, {"type": "metrics", "url": "/metrics"}],
        }
        with daphne(conf) as one, daphne(conf) as other, httpx.Client() as client:
            urls = [one.url, other.url]
            for url in urls:
                assert client.post(f"{url}/send-update/a").status_code in (201, 202)

            def read(url: str) -> dict[str, float]:
                text = client.get(f"{url}/metrics").text
                return {
                    sample.labels["process"]: sample.value
                    for family in text_string_to_metric_families(text)
                    for sample in family.samples
                    if sample.name == "pushserver_store_up"
                }

            pids = {f"{each.process.pid}" for each in (one, other)}
            for url in urls:
                wait_until(lambda url=url: len(read(url)) == 2)
                shown = read(url)
                assert {name.rpartition(":")[2] for name in shown} == pids
                assert set(shown.values()) == {1}
