"""The study's certificate authority and the server's certificate, by which hospitals know the server."""

import contextlib
import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedward.errors import UsageError
from fedward.files import make_folder, read_file, write_atomic

LOOPBACK = ("localhost", "127.0.0.1")  # the server's own processes reach each other by these

_AUTHORITY_VALID = datetime.timedelta(days=3653)
_SERVER_VALID = datetime.timedelta(days=731)
_CLOCKS = datetime.timedelta(days=1)  # by which a hospital's clock may be behind
_PRIVATE = 0o600
_MOST_BYTES = 64 * 1024
_MOST_NAME = 64  # characters of a common name


def make_authority(certificate: Path, key: Path, study: str) -> None:
    """Make a certificate authority for one study: a P-256 key, and a certificate that it signs itself, for ten years.

    Args:
        certificate: Where the certificate goes, PEM.
        key: Where the key goes, PEM; readable by its owner only.
        study: The study's name, which the certificate bears.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    secret, name = ec.generate_private_key(ec.SECP256R1()), _name(f"Fedward study {study}")
    usage = _usage(signs_certificates=True)
    made = (
        _begun(name, name, secret.public_key(), _AUTHORITY_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False)
        .sign(secret, hashes.SHA256())
    )
    _write(certificate, made, key, secret)


def make_server_certificate(authority: Path, authority_key: Path, certificate: Path, key: Path, host: str) -> None:
    """Make the server's key, P-256, and a certificate for it, for two years; both replace what was there.

    Args:
        authority: The authority's certificate, PEM.
        authority_key: The authority's key, PEM.
        certificate: Where the server's certificate goes, PEM, with the authority's behind it.
        key: Where the server's key goes, PEM; readable by its owner only.
        host: The name or IP address by which hospitals reach the server. The certificate holds for loopback, too.

    Raises:
        EvidenceError: the authority's files are missing.
        UsageError: they are damaged or no pair.
        ResourceError: the disk is full or the folder cannot be written.
    """
    issuer, signer = _load_authority(authority, authority_key)
    secret = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([_general_name(each) for each in dict.fromkeys((host, *LOOPBACK))])
    made = (
        _begun(_name(host), issuer.subject, secret.public_key(), _SERVER_VALID)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write(certificate, made, key, secret, issuer)


def valid_until(certificate: Path) -> datetime.datetime:
    """When a certificate expires, UTC.

    Args:
        certificate: PEM; of several, the first counts.

    Raises:
        EvidenceError: the file is missing.
        UsageError: it holds no certificate.
    """
    return _load_certificate(certificate).not_valid_after_utc


def _begun(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid: datetime.timedelta
) -> x509.CertificateBuilder:
    """A certificate with what all of them have."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(now + valid)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a key is for: to sign certificates, or to sign in TLS."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_MOST_NAME])])


def _general_name(host: str) -> x509.GeneralName:
    """A host as certificates name it: an IP address, or a DNS name."""
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def _load_authority(certificate: Path, key: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The authority's certificate and key; raises as `make_server_certificate` does."""
    issuer = _load_certificate(certificate)
    remedy = "Restore it from a backup, or provision anew."
    content = read_file(key, _MOST_BYTES, "The authority's key", remedy)
    try:
        secret = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"The authority's key in {key} is damaged, or has a password.", remedy) from error
    if not isinstance(secret, ec.EllipticCurvePrivateKey) or secret.public_key() != issuer.public_key():
        raise UsageError(f"The key in {key} is not the one of the certificate in {certificate}.", remedy)
    return issuer, secret


def _load_certificate(path: Path) -> x509.Certificate:
    remedy = "Restore it from a backup, or provision anew."
    content = read_file(path, _MOST_BYTES, "The certificate", remedy)
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise UsageError(f"{path} holds no certificate in PEM.", remedy) from error


def _write(
    certificate: Path, made: x509.Certificate, key: Path, secret: ec.EllipticCurvePrivateKey, *issuers: x509.Certificate
) -> None:
    """Write a certificate, those that follow it, and its key."""
    for path in (certificate, key):
        make_folder(path.parent)
    private = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomic(key, private, _PRIVATE)
    chain = [each.public_bytes(serialization.Encoding.PEM) for each in (made, *issuers)]
    write_atomic(certificate, b"".join(chain))
