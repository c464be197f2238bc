"""Connections to Redis with passwords, TLS, Sentinel and clusters."""

from __future__ import annotations

import datetime
import signal
import ssl
from pathlib import Path

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import StoreUnavailable
from tests.proxies import Proxy
from tests.servers import free_port
from tests.valkey import Cluster, Sentinel, Valkey, replicate
from tests.waiting import until

from .actions import (
    FUTURE,
    MakeStore,
    append,
    heard,
    kept,
    kept_at_last,
    publish_at_last,
    wait,
)


async def test_a_password(make: MakeStore) -> None:
    """The URL may contain the password that Redis requires."""
    with Valkey("--user", "push", "on", ">sesame", "~*", "&*", "+@all") as own:
        own.run("CONFIG", "SET", "requirepass", "other")
        store = make(f"redis://push:sesame@127.0.0.1:{own.port}/3")
        await append(store, b"1")
        assert await kept(store) == [b"1"]
        store = make(f"redis://push:wrong@127.0.0.1:{own.port}/3")
        with pytest.raises(StoreUnavailable):
            await append(store, b"2")


async def test_a_unix_socket(make: MakeStore, tmp_path: Path) -> None:
    """Redis can be reached over a unix socket."""
    socket = tmp_path / "redis.sock"
    with Valkey("--unixsocket", str(socket)):
        store = make(f"unix://{socket}?db=1")
        await wait(store)
        assert (await store.append(Update("a", b"1"))).delivered
        assert await kept(store) == [b"1"]


async def test_no_permission_to_subscribe(make: MakeStore) -> None:
    """If Redis forbids pub/sub, the store is unavailable, and the log says why."""
    with Valkey(
        "--user", "push", "on", "nopass", "~*", "&*", "+@all", "-subscribe"
    ) as own:
        store = make(f"redis://push:any@127.0.0.1:{own.port}/0")
        await append(store, b"1")
        store.listen("a")
        with pytest.raises(StoreUnavailable):
            await store.next("a", FUTURE)


async def test_tls(make: MakeStore, valkey: Valkey, tmp_path: Path) -> None:
    """A rediss:// URL uses TLS and verifies the certificate."""
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Proxy(valkey.port, tls=context) as proxy:
        url = f"rediss://localhost:{proxy.port}/0"
        store = make(f"{url}?ssl_ca_certs={certificate}")
        await append(store, b"1")
        assert await kept(store) == [b"1"]
        with pytest.raises(StoreUnavailable):
            await append(make(url), b"2")


def make_certificate(directory: Path) -> Path:
    """Return a file with a self-signed certificate for localhost and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


async def test_sentinel(make: MakeStore) -> None:
    """When Sentinel promotes a replica, publishing and subscribing continue there."""
    with Valkey() as master, Valkey() as replica:
        replicate(replica, master)
        with Sentinel(master) as sentinel:
            sentinel.wait_until_replicas(1)
            here, there = make(sentinel.url), make(sentinel.url)
            await wait(here)
            await wait(here, "empty")
            before = await append(there, b"1")
            await until(lambda: heard(here) == [b"1"])
            master.stop(signal.SIGKILL)
            after = await publish_at_last(there, b"2")
            await until(lambda: heard(here) == [b"1", b"2"])
            assert await kept_at_last(here) == [b"1", b"2"]
            # It is unknown which messages the replica had not received.
            assert after.gap_after(before.id) is not None
            await publish_at_last(there, b"3", "empty")
            await until(lambda: heard(here) == [b"1", b"2", b"3"])


async def test_missing_master_is_logged_without_the_password(
    make: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """If no sentinel names a master, the log says so without the password."""
    url = f"redis+sentinel://:sesame@127.0.0.1:{free_port()}/main"
    with pytest.raises(StoreUnavailable):
        await append(make(f"{url}?sentinel_password=sesame"))
    assert "No sentinel names a master of 'main'." in caplog.text
    assert "sesame" not in caplog.text


async def test_cluster(make: MakeStore) -> None:
    """Channels are spread over a cluster, and survive the loss of a server."""
    with Cluster(replicas=True) as cluster:
        here, there = make(cluster.url), make(cluster.url)
        channels = [f"channel {number}" for number in range(20)]
        for channel_id in channels:
            await wait(here, channel_id)
            # Nobody has published there, but a subscriber of another process waits.
            assert (await there.info(channel_id)).subscribers == 1
            appended = await there.append(Update(channel_id, b"1"), create=False)
            assert appended.delivered
            assert appended.info.subscribers == 1
        assert len(there.commands.network.connections) == 3
        await until(lambda: len(heard(here)) == len(channels))
        cluster.masters[0].stop(signal.SIGKILL)
        for channel_id in channels:
            await publish_at_last(there, b"2", channel_id)
        await until(lambda: len(heard(here)) == 2 * len(channels))


async def test_channel_moved_in_a_cluster(make: MakeStore) -> None:
    """Subscribers still get messages after a channel moves to another server."""
    with Cluster(2) as cluster:
        here, there = make(cluster.url), make(cluster.url)
        await wait(here)
        await append(there, b"1")
        await until(lambda: heard(here) == [b"1"])
        # KEYS lists only the keys of one server.
        source, target = sorted(
            cluster.masters, key=lambda node: not node.run("KEYS", "*:messages:a")
        )
        (key,) = source.run("KEYS", "*:messages:a")
        slot = source.run("CLUSTER", "KEYSLOT", key)
        ids = [node.run("CLUSTER", "MYID") for node in (source, target)]
        target.run("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.run("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        keys = source.run("CLUSTER", "GETKEYSINSLOT", slot, 100)
        source.run(
            *("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys),
        )
        for node in (target, source):
            node.run("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        await publish_at_last(there, b"2")
        await until(lambda: heard(here) == [b"1", b"2"])
        assert await kept_at_last(here) == [b"1", b"2"]
