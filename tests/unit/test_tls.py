"""The study's certificates: a client that trusts the authority accepts the server by its names, and no other."""

import ssl
import stat
from pathlib import Path

import pytest

from fedward.errors import EvidenceError, UsageError
from fedward.hosts.tls import make_authority, make_server_certificate, valid_until


class Made:
    def __init__(self, folder: Path, host: str = "fl.example.org") -> None:
        self.authority, self.authority_key = folder / "tls" / "authority.pem", folder / "tls" / "authority.key"
        self.certificate, self.key = folder / "tls" / "server.pem", folder / "tls" / "server.key"
        make_authority(self.authority, self.authority_key, "lungs")
        self.sign(host)

    def sign(self, host: str) -> None:
        make_server_certificate(self.authority, self.authority_key, self.certificate, self.key, host)

    def connects(self, name: str, authority: Path | None = None) -> bool:
        """Whether a client that trusts an authority takes the server for the one of that name."""
        client_context = ssl.create_default_context(cafile=authority or self.authority)
        client_context.verify_flags |= ssl.VERIFY_X509_STRICT
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(self.certificate, self.key)
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
        server = server_context.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(4):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                except ssl.SSLCertVerificationError:
                    return False
        return client.version() is not None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("name", ["fl.example.org", "localhost", "127.0.0.1"])
def test_a_client_accepts_the_server_by_its_names(made: Made, name: str) -> None:
    assert made.connects(name)
    assert not made.connects("other.example.org")


def test_an_ip_address_is_a_name_too(tmp_path: Path) -> None:
    for host in ("10.1.2.3", "fd00::1"):
        own = Made(tmp_path / host.replace(":", "-"), host)
        assert own.connects(host)
        assert not own.connects("10.1.2.4")


def test_another_authority_is_refused(made: Made, tmp_path: Path) -> None:
    assert not made.connects("localhost", Made(tmp_path).authority)


def test_keys_are_private(made: Made) -> None:
    for key in (made.key, made.authority_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_how_long_they_hold(made: Made) -> None:
    years = (valid_until(made.authority).year - valid_until(made.certificate).year, made.authority.exists())
    assert years == (8, True)


def test_a_server_gets_another_certificate(tmp_path: Path) -> None:
    own = Made(tmp_path)
    own.sign("new.example.org")
    assert own.connects("new.example.org")
    assert not own.connects("fl.example.org")


def test_an_authority_that_is_none_is_refused(tmp_path: Path) -> None:
    own, other = Made(tmp_path / "own"), Made(tmp_path / "other")
    before = own.certificate.read_bytes()
    own.authority_key.write_bytes(other.authority_key.read_bytes())
    with pytest.raises(UsageError, match="not the one of the certificate"):
        own.sign("localhost")
    own.authority_key.write_text("x")
    with pytest.raises(UsageError, match="damaged"):
        own.sign("localhost")
    own.authority.write_text("x")
    with pytest.raises(UsageError, match="no certificate"):
        own.sign("localhost")
    own.authority.unlink()
    with pytest.raises(EvidenceError):
        own.sign("localhost")
    assert own.certificate.read_bytes() == before
