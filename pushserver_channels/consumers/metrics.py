"""The consumer of metrics locations."""

from __future__ import annotations

from functools import partial

from pushserver.conf import Location, MetricsLocation
from pushserver_channels.access import AddressAccess
from pushserver_channels.exceptions import Forbidden, MetricsForbidden
from pushserver_channels.metrics.exposition import CONTENT_TYPE, build_text
from pushserver_channels.metrics.sharing import SnapshotSharing
from pushserver_channels.protocol import Headers

from .base import NO_CACHE, Answer, MakeConsumer, PushConsumer, Site

#: The Content-Type of the metrics, as a header.
_TYPE = (b"content-type", CONTENT_TYPE.encode())


class MetricsConsumer(PushConsumer):
    """Answers with the metrics of the processes, as Prometheus reads them.

    Args:
        headers: The headers of every answer.
        location: The location.
        access: Decides who may read them.
        sharing: Reads the metrics of all processes.
        path: The path of the request.
        fault: None.
    """

    methods = {"GET": "get", "HEAD": "get", "OPTIONS": "options"}

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, MetricsLocation), "By conf.locations."
        access = AddressAccess(location.allow_from)
        return partial(cls, site.headers, location, access, site.share(location))

    def __init__(
        self,
        headers: Headers,
        location: MetricsLocation,
        access: AddressAccess,
        sharing: SnapshotSharing,
        path: str,
        fault: str | None,
    ) -> None:
        self.choose_headers = lambda origin: headers
        self.location = location
        self.access = access
        self.sharing = sharing
        self.channel_id = path
        self.fault = fault

    def check_client(self) -> None:
        try:
            self.access.check_address(self.scope, self.headers)
        except Forbidden:
            raise MetricsForbidden from None

    async def get(self) -> Answer:
        """Answer with the metrics."""
        await self.discard_body()
        self.find_hub()  # So that the address of the server is known.
        self.sharing.start()
        body = build_text(await self.sharing.read_all())
        length = (b"content-length", b"%d" % len(body))
        return self.build_answer(200, [_TYPE, length, NO_CACHE], body)
