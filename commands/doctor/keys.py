"""Checks of a kit's keys: they open, they are of the right kind, and nobody else can read them."""

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from blockchain.identity import Identity
from commands.doctor.finding import Finding, failure, fine, watch
from commands.doctor.gateway import RENEW_DAYS
from fedward.errors import UsageError
from fedward.files import read_private
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.server_kit import ServerKit

_MOST_BYTES = 64 * 1024
_RESTORE = "Restore it from a backup."


def check_identity(folder: Path) -> Finding:
    """The account's keys are there and open, with the password that the environment gives where they have one."""
    return fine(f"The account {Identity.load(folder).address} opens.")


def load_transport_key(kit: HospitalKit) -> ec.EllipticCurvePrivateKey:
    """The SuperNode's key.

    Raises:
        UsageError: it is missing, damaged, of another kind, or others can read it.
    """
    path = kit.transport_key
    content = read_private(path, _MOST_BYTES, f"The transport key {path}", _RESTORE)
    try:
        key = serialization.load_ssh_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"The transport key {path} is damaged, or has a password.", _RESTORE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise UsageError(f"The transport key {path} is no P-384 key, and Flower takes no other.", "Enroll anew.")
    return key


def check_transport_key(kit: HospitalKit) -> Finding:
    """The SuperNode's key is a P-384 key, and its public half is the one that the hospital enrolled."""
    key = load_transport_key(kit)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    try:
        enrolled = kit.transport_public.read_bytes()
    except OSError as error:
        return failure(f"{kit.transport_public} could not be read: {error.strerror}.", _RESTORE)
    if enrolled.split()[:2] != public.split()[:2]:
        return failure(f"{kit.transport_public} is not the public half of {kit.transport_key.name}.", _RESTORE)
    return fine("The SuperNode's key is a P-384 key, and fits its public half.")


def check_token(kit: HospitalKit) -> Finding:
    """The token for the gateway is there and whole."""
    kit.load_token()
    return fine("The token for the gateway is there.")


def check_certificate(kit: ServerKit) -> Finding:
    """The server's certificate fits its key, names the host of the project's file, and is not about to expire."""
    host = kit.load_project().server.host
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(kit.certificate, kit.certificate_key, password=lambda: "")
        certificate = x509.load_pem_x509_certificate(kit.certificate.read_bytes())
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        return failure(f"{kit.certificate} and its key cannot be used: {reason}.", _RESTORE)
    if host not in _names(certificate):
        return failure(
            f"The server's certificate does not name {host}, so that hospitals refuse it.",
            "Give one that does, or correct the host in project.toml before hospitals enroll.",
        )
    days = (certificate.not_valid_after_utc - datetime.now(UTC)).days
    said = f"The server's certificate names {host} and is valid for {days} more days."
    if days < 0:
        return failure(f"The server's certificate expired {-days} days ago.", "Renew it, and restart the gateway.")
    return watch(said, "Renew it before then.") if days < RENEW_DAYS else fine(said)


def _names(certificate: x509.Certificate) -> set[str]:
    """The hosts and addresses that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def check_permissions(secrets: Iterable[Path]) -> Finding:
    """Nobody but the owner can reach a secret: neither the file nor what lies in the folder."""
    open_to_others = [path for path in secrets if path.exists() and path.stat().st_mode & 0o077]
    if open_to_others:
        names = " ".join(str(path) for path in open_to_others)
        return failure(f"Other users of this machine can reach {names}.", f"Protect them: chmod go= {names}")
    return fine("Secrets are readable by their owner only.")
