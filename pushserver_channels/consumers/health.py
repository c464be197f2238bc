"""The consumer of health locations."""

from __future__ import annotations

import json
from functools import partial

from pushserver.conf import HealthLocation, Location
from pushserver.conf.monitoring import LIVE
from pushserver_channels.access import AddressAccess
from pushserver_channels.health import Health
from pushserver_channels.protocol import Headers

from .base import NO_CACHE, Answer, MakeConsumer, PushConsumer, Site


class HealthConsumer(PushConsumer):
    """Answers 200 if the process lives or is ready, else 503.

    Clients whose addresses are allowed are told why, as JSON; others get the status
    alone.

    Args:
        headers: The headers of every answer.
        location: The location.
        access: Decides who is told why.
        health: Finds out whether the process is ready.
        asked: What is asked, the last part of the path.
        fault: None.
    """

    methods = {"GET": "get", "HEAD": "get", "OPTIONS": "options"}

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, HealthLocation), "By conf.locations."
        access = AddressAccess(location.allow_from)
        return partial(cls, site.headers, location, access, site.health)

    def __init__(
        self,
        headers: Headers,
        location: HealthLocation,
        access: AddressAccess,
        health: Health,
        asked: str,
        fault: str | None,
    ) -> None:
        self.choose_headers = lambda origin: headers
        self.location = location
        self.access = access
        self.health = health
        self.channel_id = asked
        self.fault = fault

    async def get(self) -> Answer:
        """Answer with the status and, to those who may know, the reasons.

        That the event loop has come here is what proves that the process lives.
        """
        await self.discard_body()
        self.find_hub()  # So that the address of the server is known.
        asked = self.channel_id
        faults = [] if asked == LIVE else await self.health.find_faults()
        status = 503 if faults else 200
        if not self.access.allows(self.scope, self.headers):
            return self.build_answer(status, [(b"content-length", b"0"), NO_CACHE])
        body = json.dumps({asked: not faults, "reasons": faults}).encode() + b"\n"
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            NO_CACHE,
        ]
        return self.build_answer(status, headers, body)
