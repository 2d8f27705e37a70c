"""The hub's certificates: a real TLS handshake, with the right name, the wrong name and another authority."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from wardround.coordinator.certificates import YEARS, Certificates, make
from wardround.engines.connection import tls_context

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def made() -> Certificates:
    return make(["hub.example", "127.0.0.1", "::1"], NOW)


def handshake(made: Certificates, folder: Path, trusted: bytes, name: str, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    """Shake hands over a pair of sockets as a site does with the hub, and return the version of TLS that was agreed."""
    (folder / "server.pem").write_bytes(made.hub)
    (folder / "server.key").write_bytes(made.key)
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(folder / "server.pem", folder / "server.key")
    listening.maximum_version = most
    mine, theirs = socket.socketpair()

    def hub() -> None:
        with theirs:
            try:
                with listening.wrap_socket(theirs, server_side=True) as line:
                    line.recv(1)
            except (ssl.SSLError, OSError):
                return

    thread = threading.Thread(target=hub)
    thread.start()
    try:
        with mine, tls_context(trusted.decode()).wrap_socket(mine, server_hostname=name) as line:
            line.sendall(b"x")
            return str(line.version())
    finally:
        mine.close()
        thread.join(5)


@pytest.mark.parametrize("name", ["hub.example", "127.0.0.1", "::1"])
def test_a_site_that_holds_the_authority_trusts_the_hub_by_each_name(made: Certificates, tmp_path: Path, name: str) -> None:
    assert handshake(made, tmp_path, made.authority, name) == "TLSv1.3"


@pytest.mark.parametrize("name", ["other.example", "127.0.0.2"])
def test_another_name_is_not_trusted(made: Certificates, tmp_path: Path, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, tmp_path, made.authority, name)


def test_another_authority_is_not_trusted(made: Certificates, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, tmp_path, make(["hub.example"], NOW).authority, "hub.example")


def test_nothing_older_than_tls_1_3_is_spoken(made: Certificates, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLError):
        handshake(made, tmp_path, made.authority, "hub.example", ssl.TLSVersion.TLSv1_2)


def test_the_hub_s_certificate_vouches_for_nobody_else(made: Certificates) -> None:
    hub, authority = x509.load_pem_x509_certificate(made.hub), x509.load_pem_x509_certificate(made.authority)
    assert hub.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (limits.ca, limits.path_length) == (True, 0)
    hub.verify_directly_issued_by(authority)


def test_it_is_good_from_yesterday_for_some_years(made: Certificates) -> None:
    for text in (made.hub, made.authority):
        found = x509.load_pem_x509_certificate(text)
        assert found.not_valid_before_utc < NOW
        assert found.not_valid_after_utc - NOW > datetime.timedelta(days=365 * YEARS - 1)


def test_the_authority_s_key_is_kept_nowhere(made: Certificates) -> None:
    authority = x509.load_pem_x509_certificate(made.authority)
    assert load_pem_private_key(made.key, None).public_key() != authority.public_key()
    assert b"PRIVATE" not in made.authority + made.hub
    assert "PRIVATE" not in repr(made)
