"""The settings of stores over a channel layer."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from pushserver.checks import check_settings
from pushserver.conf import read_settings
from pushserver.conf.readers import InvalidSetting
from pushserver_channels.stores import make_store
from pushserver_channels.stores.layer import ChannelLayerStore
from tests.stores.conftest import (
    LAYERS,
)
from tests.valkey import Valkey


@pytest.mark.parametrize(
    ("backend", "shared"),
    [(LAYERS["memory"], False), (LAYERS["redis"], True), (LAYERS["pubsub"], True)],
)
def test_store_is_shared_unless_the_layer_is_in_memory(
    backend: str, shared: bool
) -> None:
    """Processes share the store unless the layer is in memory; W006 says which."""
    store = {"type": "channel_layer", "max_messages": 10}
    with override_settings(
        CHANNEL_LAYERS={"default": {"BACKEND": backend}}, PUSH_SERVER={"store": store}
    ):
        assert read_settings({"store": store}).store["default"].shared == shared
        warnings = check_settings(None)
    assert [warning.id for warning in warnings] == ["pushserver.W006"]
    assert ("no other process" in warnings[0].msg) == (not shared)


@pytest.mark.parametrize("alias", ["defualt", "other"])
def test_missing_layer_is_refused(alias: str) -> None:
    """A layer that is not in CHANNEL_LAYERS is refused."""
    layers = {"default": {"BACKEND": LAYERS["memory"]}}
    with (
        override_settings(CHANNEL_LAYERS=layers),
        pytest.raises(InvalidSetting, match=alias),
    ):
        read_settings({"store": {"type": "channel_layer", "alias": alias}})


def test_stores_that_share_channels_are_refused() -> None:
    """Two stores that would share their channels are refused."""
    stores: dict[str, Any] = {
        name: {"type": "channel_layer"} for name in ("default", "b")
    }
    layers = {"default": {"BACKEND": LAYERS["memory"]}}
    with override_settings(CHANNEL_LAYERS=layers):
        with pytest.raises(InvalidSetting, match="'default'.*'group'"):
            read_settings({"store": stores})
        stores["b"]["group"] = "other"
        assert set(read_settings({"store": stores}).store) == {"default", "b"}


def test_store_is_made_from_its_settings(valkey: Valkey) -> None:
    """A store of the type channel_layer is made from its settings."""
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": LAYERS["memory"]}}):
        settings = read_settings({"store": {"type": "channel_layer"}}).store["default"]
        assert isinstance(make_store(settings), ChannelLayerStore)
