from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import count
from time import time
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import ChannelLayerStoreSettings
from pushserver_channels.stores.layer import ChannelLayerStore
from tests.stores.conftest import (
    attach_audience,
    close_layer,
    layer_settings,
)

from .fragile import (
    MakeStore,
)

_groups = (f"layer {number}" for number in count())


@pytest.fixture(params=["fragile"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[MakeStore]:
    """Make stores in one group, each as if in its own process."""
    stores = []
    group = next(_groups)
    layers: dict[str, Any] = {
        "default": {"BACKEND": "tests.stores.layer.fragile.FragileLayer"}
    }
    if request.param != "fragile":
        layers = layer_settings(request.param, request)

    def make(
        *,
        late: bool = False,
        serving: bool = True,
        clock: Callable[[], float] = time,
        **limits: Any,
    ) -> ChannelLayerStore:
        settings = ChannelLayerStoreSettings(
            type="channel_layer", group=group, **limits
        )
        store = ChannelLayerStore(settings, clock, is_late=late)
        if serving:
            attach_audience(store)
        stores.append(store)
        return store

    with override_settings(CHANNEL_LAYERS=layers):
        yield make
        for store in stores:
            await store.aclose()
        await close_layer()
