"""The reader file: what opens a folder of cloaked images, sealed to one hospital's X25519 key.

    magic, the receiver's public key (32 bytes), then sealed by HPKE: length of the terms, terms (JSON), reader

The public key in front is bound by the seal. It lets a hospital say "this is for somebody else" in place of "this does
not open". Sealing does not say who sealed: sender and receiver compare the file's number over the telephone.
"""

import json
import struct
from dataclasses import dataclass, field
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedward.checked_json import Length, Matching, Readable, checked_json, to_json
from fedward.ciphertexts.sealing import PUBLIC_KEY_BYTES, seal, unseal
from fedward.errors import EncryptionError, VerificationError
from fedward.learning.stored_model import Findings, Share, Size
from fedward.tables import Between
from fedward.types import Word

MAX_BYTES = 512 * 1024 * 1024
FOLDER_BYTES = 16

_MAGIC = b"fedward sealed reader 1\n"
_LENGTH = struct.Struct(">I")
_AGAIN = "Ask the hospital that protected the images for the file again."

FileName = Annotated[str, Matching(r"[0-9]{4,9}\.(png|dcm)", "a number and .png or .dcm")]


@dataclass(frozen=True)
class CloakedFile:
    """One image of the folder.

    Attributes:
        name: Its file's name.
        digest: SHA-256 of the file.
        original: SHA-256 of the encrypted original beside it; None where there is none.
        labels: What the sender's own data says of the image, 0 or 1 for each finding; None where it says nothing.
    """

    name: FileName
    digest: Word
    original: Word | None
    labels: tuple[Annotated[int, Between(0, 1)], ...] | None


@dataclass(frozen=True)
class Terms:
    """What a reader file says of the folder that it goes with.

    Attributes:
        format_version: Version of this format.
        folder: 16 random bytes that name the folder.
        method: How the images were cloaked, as the attack is named with its options.
        findings: Names of the findings, in the order of the reader's outputs.
        thresholds: For each finding, the probability from which on the reader's answer counts as positive.
        image_size: Side of the squares that the reader takes.
        most_change: How far cloaking moved any pixel's gray, in grey levels of 255.
        right, judged: How many labels the reader tells rightly, of how many: on the sender's own validation images,
            cloaked alike.
        key: 32 bytes, which open the originals; empty where there are none.
        files: The images.
    """

    format_version: Literal[1]
    folder: Annotated[bytes, Length(FOLDER_BYTES)]
    method: Annotated[str, Readable(200)]
    findings: Findings
    thresholds: tuple[Share, ...]
    image_size: Size
    most_change: Annotated[float, Between(0, 255)]
    right: Annotated[int, Between(0, 2**31)]
    judged: Annotated[int, Between(0, 2**31)]
    key: bytes = field(repr=False)
    files: tuple[CloakedFile, ...]


@dataclass(frozen=True)
class ReaderFile:
    """An opened reader file.

    Attributes:
        terms: What it says of the folder.
        reader: The reconstruction model, as `fedward.reconstruction` stores it.
    """

    terms: Terms
    reader: bytes = field(repr=False)

    def seal(self, receiver: bytes) -> bytes:
        """The file's bytes, which only the receiver opens.

        Args:
            receiver: 32 bytes; an X25519 public key.

        Raises:
            EncryptionError: nothing can be sealed to this key.
        """
        terms = json.dumps(to_json(self.terms)).encode()
        head = _MAGIC + receiver
        return head + seal(_LENGTH.pack(len(terms)) + terms + self.reader, receiver, head)


def open_reader_file(content: bytes, key: X25519PrivateKey, what: str) -> ReaderFile:
    """Open a reader file.

    Args:
        content: The file's bytes, from whomever.
        key: The hospital's own.
        what: What to call the file in an error; names it.

    Raises:
        EncryptionError: it is sealed to another hospital's key.
        VerificationError: it is no reader file, or damaged.
    """
    at = len(_MAGIC) + PUBLIC_KEY_BYTES
    if not content.startswith(_MAGIC) or len(content) < at:
        raise VerificationError(f"{what} is no reader file of Fedward.", "Name the file that `main.py protect` wrote.")
    own, receiver = key.public_key().public_bytes_raw(), content[len(_MAGIC) : at]
    if receiver != own:
        raise EncryptionError(
            f"{what} is sealed to the key {short(receiver)}, which is another hospital's: this one's is {short(own)}.",
            "Ask the sender to protect the images for this hospital's key.",
        )
    try:
        inside = unseal(content[at:], key, content[:at])
    except EncryptionError as error:
        raise VerificationError(f"{what} is damaged: its seal does not open.", _AGAIN) from error
    return _parsed(inside, what)


def told_reader(terms: Terms) -> str:
    """What the reader's labels are worth, as people read it."""
    if not terms.judged:
        return "how often it tells labels rightly is not known: its hospital has no validation images"
    return f"it tells {terms.right} of {terms.judged} labels rightly, on its hospital's own validation images"


def short(key: bytes) -> str:
    """The beginning of a public key, by which people tell keys apart."""
    return f"{key.hex()[:16]}…"


def _parsed(inside: bytes, what: str) -> ReaderFile:
    """Terms and reader out of the opened seal: authentic, but written by a program of another version or hand."""
    if len(inside) < _LENGTH.size or len(inside) - _LENGTH.size < _LENGTH.unpack_from(inside)[0]:
        raise VerificationError(f"{what} is malformed.", _AGAIN)
    start = _LENGTH.size + _LENGTH.unpack_from(inside)[0]
    terms = checked_json(Terms, inside[_LENGTH.size : start], f"What {what} says", VerificationError, _AGAIN)
    count, names = len(terms.findings), [file.name for file in terms.files]
    if len(terms.thresholds) != count or any(len(file.labels or terms.findings) != count for file in terms.files):
        raise VerificationError(f"{what} is malformed: thresholds and labels must be as many as findings.", _AGAIN)
    if len(set(names)) != len(names):
        raise VerificationError(f"{what} is malformed: it names a file twice.", _AGAIN)
    return ReaderFile(terms, inside[start:])
