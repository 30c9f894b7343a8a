"""The receiver's X25519 key: in the request of a hospital on a host of its own, in hexadecimal, or in its folder."""

import re
from dataclasses import dataclass
from pathlib import Path

from blockchain.consortium.enrollment import MAX_BYTES, SignedEnrollment, sealing_key
from blockchain.identity import Identity
from commands.own_hospital import hospital_at
from fedward.ciphertexts.sealing import PUBLIC_KEY_BYTES, seal
from fedward.cloaking.reader_file import short
from fedward.errors import UsageError
from fedward.files import read_file
from fedward.hosts.spoken import spoken

_HEXADECIMAL = re.compile(rf"[0-9a-fA-F]{{{2 * PUBLIC_KEY_BYTES}}}")
_REMEDY = "Give the hospital's request.json, its key as 64 hexadecimal digits or a file of them, or its folder."


@dataclass(frozen=True)
class Receiver:
    """Whom a reader file is sealed to.

    Attributes:
        key: 32 bytes; its X25519 public key.
        told: Who that is, as a user can check it.
    """

    key: bytes
    told: str


def receiver_of(to: str) -> Receiver:
    """The receiver that `--to` names.

    Args:
        to: A key in hexadecimal; or the path of an enrollment request, of a file with a key in hexadecimal, or of a
            hospital's folder whose keys this machine can read, as in a simulation.

    Raises:
        UsageError: it is none of these, or the folder's keys cannot be used.
        VerificationError: a request is not signed with the keys that it names, or the file is too long.
        EvidenceError: the file cannot be read.
        EncryptionError: nothing can be sealed to that key.
    """
    if _HEXADECIMAL.fullmatch(to.strip()):
        return _by_key(bytes.fromhex(to.strip()))
    path = Path(to)
    if path.is_dir():
        return _by_key(Identity.load(hospital_at(path).identity).x25519_public_key)
    content = read_file(path, MAX_BYTES, "The receiver's key", _REMEDY, through_link=True)
    text = content.decode(errors="replace").strip()
    if _HEXADECIMAL.fullmatch(text):
        return _by_key(bytes.fromhex(text))
    if not text.startswith("{"):
        raise UsageError(f"{path} has no key.", _REMEDY)
    signed = SignedEnrollment.from_bytes(content, f"The request {path}")
    key = sealing_key(signed)
    _try(key)
    return Receiver(key, f"{signed.enrollment.hospital}, whose request has the number {spoken(content)}")


def _by_key(key: bytes) -> Receiver:
    _try(key)
    return Receiver(key, f"the key {short(key)}")


def _try(key: bytes) -> None:
    """Find out before any work whether something can be sealed to a key; raises `EncryptionError` where not."""
    seal(b"", key, b"")
