"""Parsing of the JSON parts of evidence: annotated types that `fedward.checked_json` checks, and hash names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from blockchain.consortium.trust import FirstCheckpoint
from blockchain.ledger.json_fields import Account, Digest
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.checked_json import checked_json, checked_lines
from fedward.errors import VerificationError
from fedward.folders.ciphertexts import RoundFiles
from fedward.messages.signed import read_signed, write_signed

MAX_JSON_BYTES = 64 * 1024 * 1024

_COMPARE = "Compare with another copy."
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
Format = TypeVar("Format")


@dataclass(frozen=True)
class RoundForm:
    """A round's file names, as `round-NNNN.json` and a manifest hold them."""

    aggregate: tuple[Digest, ...]
    updates: Mapping[Account, tuple[Digest, ...]]

    def files(self) -> RoundFiles:
        """The names."""
        return RoundFiles(self.aggregate, self.updates)


def parse(kind: type[Format], content: bytes, what: str) -> Format:
    """Read JSON as an annotated type.

    Raises:
        VerificationError: the content is no JSON, or not of that type.
    """
    return checked_json(kind, content, what, VerificationError, _COMPARE)


def parse_lines(kind: type[Format], lines: Iterable[bytes], what: str) -> list[Format]:
    """Read lines of JSON, each as an annotated type; raises what `parse` raises."""
    return checked_lines(kind, lines, what, VerificationError, _COMPARE)


def checkpoints_to_lines(checkpoints: Iterable[SignedCheckpoint]) -> bytes:
    """Checkpoints, one line of JSON each."""
    return b"".join(write_signed(signed) + b"\n" for signed in checkpoints)


def checkpoints_from_lines(content: bytes, what: str) -> tuple[SignedCheckpoint, ...]:
    """Checkpoints from lines of JSON; lines without a signature, and a last line cut short by a crash, are skipped.

    Raises:
        VerificationError: a line is malformed.
    """
    found = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        name = f"Line {number} of {what}"
        told = parse(dict[str, Any], line, name)
        if "checkpoint" in told:
            found.append(read_signed(SignedCheckpoint, line, name, VerificationError, _COMPARE))
        elif "signature" in told:
            found.append(parse(FirstCheckpoint, line, name).signed())
    return tuple(found)


def is_hash(name: str) -> bool:
    """Whether a text is a SHA-256 in lower-case hexadecimal, and so a safe file name."""
    return _HASH.fullmatch(name) is not None
