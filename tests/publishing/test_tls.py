from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.conf import LazySettings

from pushserver.publishers import (
    PublishError,
)
from pushserver.updates import send_update

from .small_server import SmallServer, publish_to, serving


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, in one file with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@pytest.fixture
def secure(certificate: Path) -> Iterator[SmallServer]:
    """A small push server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = SmallServer()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server


def test_untrusted_certificate_is_refused(
    secure: SmallServer, settings: LazySettings
) -> None:
    """A self-signed certificate raises an error, and nothing is published."""
    publish_to(secure.host, settings, secure=True)
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert f"https://{secure.host}/publisher/news" in str(caught.value)
    assert "certificate" in str(caught.value)
    assert "self-signed" in str(caught.value)
    assert secure.requests == []


def test_trusted_certificate_is_accepted(
    secure: SmallServer,
    settings: LazySettings,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a trusted certificate updates arrive, and the connection is kept."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    publish_to(secure.host, settings, secure=True)
    for number in range(3):
        assert send_update("news", number)
    assert [body for *_, body in secure.requests] == [b"0", b"1", b"2"]
    assert len(secure.connections) == 1


def test_tls_to_a_plain_port_is_an_error_that_names_the_setting(
    small: SmallServer, settings: LazySettings
) -> None:
    """With "secure" set for a server without TLS, the error names the setting."""
    publish_to(small.host, settings, secure=True)
    with pytest.raises(PublishError) as caught:
        send_update("news", {})
    assert f"https://{small.host}/" in str(caught.value)
    assert "secure" in str(caught.value)
