"""Who may use the gateway: admitted hospitals, by token or their SuperNode's signature, and the witness, by token."""

import datetime
import hmac
import threading
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedward.files import sha256
from fedward.hosts.members import Admitted, Members, NamedWitness
from fedward.types import HospitalId

KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER = "flwr-public-key", "flwr-signature", "flwr-timestamp"
# Flower's SuperLink allows the same. A request that somebody repeats later is refused there and here.
OLDEST_S, EARLIEST_S = 305.0, -5.0

WITNESS = HospitalId("the witness")  # as logs name it; no hospital's name has a blank

_BEARER = "bearer "
_MOST_HEADER = 4096


class Admission:
    """Knows the admitted hospitals, as the list is now: it is read again when it has changed; and the witness.

    Args:
        members: The list.
        witness: The file that names the witness; missing where there is none.

    Every method raises `EvidenceError` or `VerificationError` where what it needs is damaged: then nobody is let in.
    """

    def __init__(self, members: Members, witness: Path) -> None:
        self._members = members
        self._witness = witness
        self._lock = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._all: tuple[Admitted, ...] = ()
        self._by_key: Mapping[bytes, Admitted] = {}

    def every(self) -> tuple[Admitted, ...]:
        """All that were ever admitted, in that order."""
        self._refresh()
        return self._all

    def admitted(self) -> tuple[Admitted, ...]:
        """Those that are admitted now."""
        return tuple(member for member in self.every() if not member.revoked)

    def by_token(self, authorization: str) -> Admitted | None:
        """The hospital whose token an Authorization header bears; None where it is nobody's, or a revoked one's.

        The time that this takes tells nothing about tokens: only hashes are compared, and all of them.
        """
        bears, digest = _token_hash(authorization)
        found = None
        for member in self.every():
            if hmac.compare_digest(member.token_hash, digest) and not member.revoked:
                found = member
        return found if bears else None

    def witness_by_token(self, authorization: str) -> Admitted | None:
        """The witness, if an Authorization header bears its token; it has no SuperNode, and no images."""
        bears, digest = _token_hash(authorization)
        named = NamedWitness.load(self._witness)
        if named is None or not hmac.compare_digest(named.token_hash, digest) or not bears:
            return None
        return Admitted(WITNESS, named.address, 1, "", named.token_hash)

    def by_signature(self, headers: Mapping[str, str]) -> tuple[Admitted | None, str]:
        """The hospital whose SuperNode signed a request's headers.

        Returns:
            The hospital, or None where it is nobody's, or a revoked one's; then a sentence says why.
        """
        try:
            key = b64decode(headers[KEY_HEADER][:_MOST_HEADER], validate=True)
            signature = b64decode(headers[SIGNATURE_HEADER][:_MOST_HEADER], validate=True)
            said = headers[TIME_HEADER][:_MOST_HEADER]
            signed_at = datetime.datetime.fromisoformat(said)
            late_s = (datetime.datetime.now(datetime.UTC) - signed_at).total_seconds()
        except (KeyError, ValueError, TypeError, Base64Error):
            return None, "The request bears no SuperNode's signature."
        self._refresh()
        member = self._by_key.get(key)
        if member is None:
            return None, "This SuperNode's key is not an admitted hospital's."
        if not _signed(key, said, signature):
            return None, "The SuperNode's signature is wrong."
        if not EARLIEST_S < late_s < OLDEST_S:
            return (
                None,
                f"This hospital's clock differs from the server's by {late_s:+.0f} s; both should be set by NTP.",
            )
        return member, ""

    def _refresh(self) -> None:
        """Read the list again, where it is not the one that was read last."""
        with self._lock:
            state = _state(self._members)
            if state == self._state:
                return
            self._all, self._by_key, self._state = (), {}, None  # where the list is damaged, it lets nobody in
            members = self._members.all()
            self._by_key = {_as_pem(member.transport_key): member for member in members if not member.revoked}
            self._all, self._state = members, state


def _token_hash(authorization: str) -> tuple[bool, str]:
    """Whether an Authorization header bears a token, and the hash of it, or of whatever else it has."""
    bears = authorization[: len(_BEARER)].lower() == _BEARER and len(authorization) <= _MOST_HEADER
    return bears, sha256(authorization[len(_BEARER) :].strip().encode()).hex()


def _state(members: Members) -> tuple[int, int, int]:
    """What changes when the list is written: each time it is another file."""
    try:
        found = members.path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _as_pem(line: str) -> bytes:
    """A public key as a SuperNode sends it; empty where the line is no key, which no SuperNode sends."""
    try:
        key = serialization.load_ssh_public_key(line.encode())
    except ValueError:
        return b""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _signed(pem: bytes, said: str, signature: bytes) -> bool:
    """Whether a key signed a text."""
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, said.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
