"""The settings of a store in Redis."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from pushserver.conf import RedisStoreSettings, read_settings
from pushserver.conf.readers import InvalidSetting
from pushserver_channels.stores import make_store
from pushserver_channels.stores.redis import servers


def test_old_settings() -> None:
    """Host, port and database are accepted instead of a URL, as before."""
    conf = read_settings(
        {
            "store": {
                "type": "redis",
                "host": "redis.example.com",
                "port": 6380,
                "database": 2,
                "key_prefix": "",
            }
        }
    )
    store = conf.store["default"]
    assert isinstance(store, RedisStoreSettings)
    assert store.address == "redis://redis.example.com:6380/2"
    assert store.key_prefix == ""
    assert store.shared
    assert RedisStoreSettings(type="redis").address == "redis://127.0.0.1:6379/0"
    assert (
        RedisStoreSettings(type="redis", host="::1").address == "redis://[::1]:6379/0"
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("url", "http://localhost"),
        ("url", "localhost:6379"),
        ("url", "redis:"),
        ("url", 1),
        ("host", ""),
        ("port", 0),
        ("database", -1),
        ("key_prefix", "a{b"),
        ("key_prefix", 1),
        ("max_channels", 1),
        ("max_bytes", 1),
    ],
)
def test_unsupported_settings_are_refused(setting: str, value: object) -> None:
    """A setting that Redis cannot support is refused by name."""
    with pytest.raises(InvalidSetting) as error:
        read_settings({"store": {"type": "redis", setting: value}})
    assert f"['{setting}']" in str(error.value)


def test_host_beside_a_url_is_refused() -> None:
    """A host beside a URL is refused, since one of them would be ignored."""
    store = {"type": "redis", "url": "redis://localhost", "host": "localhost"}
    with pytest.raises(InvalidSetting, match="beside a 'url'"):
        read_settings({"store": store})


@pytest.mark.parametrize(
    "other",
    [
        {"url": "redis://localhost:6379/1"},
        {"host": "localhost", "database": 1},
        {"url": "redis://localhost:6379/1", "max_messages": 3},
        # Beside the first store are its revocations, and what the dashboard asks.
        {"database": 1, "host": "localhost", "key_prefix": "pushserver:revocations:"},
        {"database": 1, "host": "localhost", "key_prefix": "pushserver:dashboard:"},
    ],
)
def test_stores_that_share_channels_are_refused(other: dict[str, Any]) -> None:
    """Two stores that would share their channels are refused."""
    stores = {
        "default": {"type": "redis", "url": "redis://localhost:6379/1"},
        "other": {"type": "redis", **other},
    }
    with pytest.raises(InvalidSetting, match="'default'.*'key_prefix'"):
        read_settings({"store": stores})
    stores["other"]["key_prefix"] = "other:"
    assert set(read_settings({"store": stores}).store) == {"default", "other"}


def test_refused_url_is_not_shown() -> None:
    """A URL that is refused is not shown, since it may contain a password."""
    with pytest.raises(InvalidSetting) as error:
        read_settings({"store": {"type": "redis", "url": "http://:sesame@localhost"}})
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize("kind", ["", "+sentinel", "+cluster"])
@pytest.mark.parametrize("mark", "/#?")
def test_password_is_not_shown(kind: str, mark: str) -> None:
    """The error for a URL does not show a password with unquoted characters."""
    url = f"redis{kind}://user:sesame{mark}open@localhost:6379/service"
    settings = RedisStoreSettings(type="redis", url=url)
    with pytest.raises(ImproperlyConfigured, match="%2F") as error:
        make_store(settings)
    told = "".join(traceback.format_exception(error.value))
    assert "sesame" not in told
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://localhost",
        "redis+sentinel://localhost:x/service",
        "redis+cluster://localhost,:6379",
        "redis+cluster://::1",
        "redis+cluster://[::1]x",
        "redis://localhost/one",
        "redis+sentinel://localhost/service/one",
        "redis://localhost?no_such_option=1",
        "redis+cluster://localhost?no_such_option=1",
    ],
)
def test_unusable_urls_are_refused(url: str) -> None:
    """A URL that redis-py cannot use is a configuration error."""
    settings = RedisStoreSettings(type="redis", url=url)
    with pytest.raises(ImproperlyConfigured, match="URL"):
        make_store(settings)


def test_several_hosts() -> None:
    """A URL of Sentinel or a cluster may name several hosts, with or without ports."""
    sentinels = servers.find_servers(
        "rediss+sentinel://me:pass@one,[::1]:2,three:3/main/4?sentinel_password=x"
    )
    assert isinstance(sentinels, servers.SentinelServers)
    assert sentinels.hosts == [("one", 26379), ("::1", 2), ("three", 3)]
    assert sentinels.service == "main"
    assert sentinels.sentinel_options["password"] == "x"
    assert sentinels.sentinel_options["ssl"]
    connection: Any = sentinels.connection(("one", 1))
    assert (connection.host, connection.port, connection.db) == ("one", 1, 4)
    assert (connection.username, connection.password) == ("me", "pass")
    cluster = servers.find_servers("redis+cluster://[fe80::2],[::1]:2,two:2")
    assert isinstance(cluster, servers.ClusterServers)
    assert cluster.hosts == [("fe80::2", 6379), ("::1", 2), ("two", 2)]


def test_missing_redis_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py, the error for a store says how to install it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio.connection", None)
    with pytest.raises(
        ImproperlyConfigured, match=r"pip install django-pushserver\[redis\]"
    ):
        make_store(RedisStoreSettings(type="redis"))
