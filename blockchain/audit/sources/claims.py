"""Evidence in JSON's types and back, checked and bounded, whatever the bytes."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from blockchain.audit.sources.evidence import ClaimedMember, Claims
from blockchain.consortium.trust import checkpoint_from_json, checkpoint_to_json
from blockchain.ledger.encoding import check_address
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.errors import EvidenceError, LedgerError, VerificationError
from fedward.files import parse_json
from fedward.folders.ciphertexts import RoundFiles
from fedward.types import Address, HospitalId

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_RELEASES = 100_000  # of one hospital

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAME = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, LedgerError)
Parsed = TypeVar("Parsed")


def read_bounded(path: Path, most: int, what: str) -> bytes:
    """A file's content.

    Raises:
        EvidenceError: it is missing or cannot be read.
        VerificationError: it is longer than `most` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EvidenceError(f"{what} could not be read from {path}: {reason}.", "Restore that file.") from error
    if len(content) > most:
        raise VerificationError(f"{what} in {path} is longer than {most:,} bytes.", "Restore that file.")
    return content


def parse(content: bytes, what: str, parser: Callable[[Any], Parsed]) -> Parsed:
    """JSON as whatever the parser makes of it.

    Raises:
        VerificationError: it is no JSON, or the parser refuses it.
    """
    try:
        return parser(parse_json(content))
    except _MALFORMED as error:
        raise VerificationError(
            f"{what} is malformed ({type(error).__name__}).", "Compare with another copy."
        ) from error


def claims_to_json(claims: Claims) -> dict[str, Any]:
    """Claims as a bundle's manifest holds them."""
    return {
        "run_id": claims.run_id,
        "chain_id": claims.chain_id,
        "contract": claims.contract,
        "settings": claims.settings and {name: dict(table) for name, table in claims.settings.items()},
        "roster": [
            {"hospital": member.hospital, "address": member.address, "weight": member.weight}
            for member in claims.roster
        ],
        "epsilons": dict(claims.epsilons),
        "releases": dict(claims.releases),
        "delta": claims.delta,
        "height": claims.height,
        "block_hash": claims.block_hash and claims.block_hash.hex(),
        "ledger_head": claims.ledger_head and claims.ledger_head.hex(),
    }


def claims_from_json(fields: Any) -> Claims:
    """Claims from a manifest; to be called by `parse`, which turns what it raises into a `VerificationError`."""
    settings = fields["settings"]
    return Claims(
        run_id=text(fields["run_id"]),
        chain_id=whole(fields["chain_id"]),
        contract=check_address(fields["contract"], "contract"),
        settings=None if settings is None else settings_from_json(settings),
        roster=roster_from_json(fields["roster"]),
        epsilons={hospital_name(name): amount(value) for name, value in fields["epsilons"].items()},
        releases={hospital_name(name): releases(value) for name, value in fields["releases"].items()},
        delta=optional(amount, fields["delta"]),
        height=optional(whole, fields["height"]),
        block_hash=optional(_word, fields["block_hash"]),
        ledger_head=optional(_word, fields["ledger_head"]),
    )


def roster_from_json(members: Any) -> tuple[ClaimedMember, ...]:
    """The hospitals as `run.json` and a manifest list them; to be called by `parse`."""
    if not isinstance(members, list):
        raise TypeError("not a list")
    return tuple(
        ClaimedMember(
            hospital_name(member["hospital"]), check_address(member["address"], "hospital"), whole(member["weight"])
        )
        for member in members
    )


def settings_from_json(tables: Any) -> dict[str, dict[str, Any]]:
    """Settings as `run.json` and a manifest hold them, whatever version they are of; to be called by `parse`."""
    return {text(name): _table(table) for name, table in tables.items()}


def round_files_to_json(files: RoundFiles) -> dict[str, Any]:
    """A round's file names, as `round-NNNN.json` and a manifest hold them."""
    return {
        "aggregate": list(files.aggregate),
        "updates": {address: list(names) for address, names in files.updates.items()},
    }


def round_files_from_json(fields: Any) -> RoundFiles:
    """A round's file names; to be called by `parse`."""
    updates: Mapping[Address, Any] = fields["updates"]
    return RoundFiles(
        aggregate=_hashes(fields["aggregate"]),
        updates={check_address(address, "hospital"): _hashes(names) for address, names in updates.items()},
    )


def checkpoints_to_lines(checkpoints: Iterable[SignedCheckpoint]) -> bytes:
    """Checkpoints, one line of JSON each."""
    return b"".join(json.dumps(checkpoint_to_json(signed)).encode() + b"\n" for signed in checkpoints)


def checkpoints_from_lines(content: bytes, what: str) -> tuple[SignedCheckpoint, ...]:
    """Checkpoints from lines of JSON; a line that a crash cut short, or without a signature, is none.

    Raises:
        VerificationError: a line is malformed.
    """

    def signed_or_none(fields: Any) -> SignedCheckpoint | None:
        return checkpoint_from_json(fields) if "signature" in dict(fields) else None

    lines = content.split(b"\n")[:-1]
    parsed = (parse(line, f"Line {number} of {what}", signed_or_none) for number, line in enumerate(lines, start=1))
    return tuple(signed for signed in parsed if signed is not None)


def is_hash(name: str) -> bool:
    """Whether a text is a SHA-256 in lower-case hexadecimal, and so a safe file name."""
    return _HASH.fullmatch(name) is not None


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def hospital_name(value: Any) -> HospitalId:
    """A hospital's name."""
    if not _NAME.fullmatch(text(value)):
        raise ValueError("not a hospital's name")
    return HospitalId(value)


def whole(value: Any) -> int:
    """A whole number that fits the ledger's types."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError("not a whole number")
    return value


def releases(value: Any) -> int:
    """A number of releases: as many as a hospital's privacy record may list."""
    if whole(value) > MAX_RELEASES:
        raise ValueError("too many releases")
    return whole(value)


def amount(value: Any) -> float:
    """A finite number, at least 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise ValueError("not an amount")
    return float(value)


def optional(parser: Callable[[Any], Parsed], value: Any) -> Parsed | None:
    """None as it is, else what the parser makes of it."""
    return None if value is None else parser(value)


def _table(values: Any) -> dict[str, Any]:
    """One table of settings: plain values under texts."""
    if any(not isinstance(value, str | int | float | bool) for value in values.values()):
        raise TypeError("not a setting")
    return {text(key): value for key, value in values.items()}


def _hashes(names: Any) -> tuple[str, ...]:
    """Names of ciphertexts."""
    if not isinstance(names, list) or not all(isinstance(name, str) and is_hash(name) for name in names):
        raise ValueError("not a list of hashes")
    return tuple(names)


def _word(value: Any) -> bytes:
    """32 bytes in hexadecimal."""
    if not is_hash(text(value)):
        raise ValueError("not 32 bytes")
    return bytes.fromhex(value)
