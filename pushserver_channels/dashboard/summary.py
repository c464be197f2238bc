"""What a process tells dashboards about itself."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import pushserver
from pushserver_channels.messages import MessageId
from pushserver_channels.metrics.snapshot import Sample, Snapshot
from pushserver_channels.process_names import name_process

#: Before each name of a metric.
_PREFIX = "pushserver_"


class Summary(NamedTuple):
    """The answer of a process.

    Attributes:
        process: Its name, as in its metrics.
        version: The release that it runs.
        faults: Why it should get no requests, a sentence each; none if it is ready.
        samples: Its gauges and counters.
        held: How many subscribers some channels have there.
        answered: The id of the newest inquiry that this answers.
    """

    process: str
    version: str
    faults: list[str]
    samples: list[Sample]
    held: dict[str, int]
    answered: MessageId

    @classmethod
    def of_this_process(
        cls,
        faults: list[str],
        snapshot: Snapshot,
        held: dict[str, int],
        answered: MessageId,
    ) -> Summary:
        """Return the answer of this process."""
        return cls(
            name_process(),
            pushserver.__version__,
            faults,
            snapshot.samples,
            held,
            answered,
        )

    def dump(self) -> bytes:
        """Return the answer as JSON."""
        return json.dumps(self).encode()

    @classmethod
    def load(cls, data: bytes) -> Summary:
        """Return the answer of another process. Raises ``ValueError``."""
        try:
            # A later release may tell more.
            process, version, faults, samples, held, answered, *_ = json.loads(data)
            return cls(
                str(process),
                str(version),
                [str(each) for each in faults],
                [(name, tuple(labels), value) for name, labels, value in samples],
                {str(channel_id): int(count) for channel_id, count in held.items()},
                MessageId(*map(int, answered)),
            )
        except (AttributeError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"This is no answer: {error}") from error

    def describe(self, is_answering: bool) -> dict[str, Any]:
        """Return what a page shows of the process.

        Args:
            is_answering: Whether it has answered the last inquiry.
        """
        sums: Counter[str] = Counter()
        by_label: dict[str, Counter[str]] = {}
        refused: Counter[str] = Counter()
        for name, labels, value in self.samples:
            name = name.removeprefix(_PREFIX)
            sums[name] += int(value)
            if labels:
                by_label.setdefault(name, Counter())[labels[-1]] += int(value)
            if name == "subscriptions_total" and labels[-1] != "accepted":
                refused[labels[-1]] += int(value)
        published = by_label.get("published_total", Counter())
        stores = by_label.get("store_up", Counter())
        return {
            "name": self.process,
            "version": self.version,
            "is_answering": is_answering,
            "faults": self.faults,
            "held": dict(by_label.get("subscribers", {})),
            "published": published["delivered"] + published["accepted"],
            "delivered": sums["deliveries_total"],
            "sent_bytes": sums["sent_bytes_total"],
            "gaps": sums["gaps_total"],
            "limits": dict(by_label.get("limits_total", {})),
            "refused": dict(refused),
            "disconnects": dict(by_label.get("disconnects_total", {})),
            "store_errors": sums["store_errors_total"],
            "stores_down": [name for name, is_up in stores.items() if not is_up],
            "passthrough_waiting": sums["passthrough_waiting"],
        }
