"""Stage 11, vote: from detector reports to a verdict, and the salted evidence, whose hash goes into the vote."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fedward.checked_json import Length, Part, checked_json
from fedward.errors import EvidenceError
from fedward.files import sha256
from fedward.types import DecodeFailure, DetectorReport

SALT_BYTES = 16


@dataclass(frozen=True)
class _Salted(Part):
    """The part of stored reports that is read again."""

    salt: Annotated[bytes, Length(SALT_BYTES)]


def accepts(found: Sequence[DetectorReport] | DecodeFailure) -> bool:
    """Whether a hospital accepts: the aggregate gave a candidate, and none of the detectors finds it suspicious."""
    return not isinstance(found, DecodeFailure) and not any(report.suspicious for report in found)


def report_bytes(round_index: int, found: Sequence[DetectorReport] | DecodeFailure, salt: bytes) -> bytes:
    """A vote's evidence as bytes, which the hospital keeps and whose hash goes into the vote.

    Args:
        round_index: The round.
        found: What the detectors found, or why there was nothing for them to look at.
        salt: `SALT_BYTES` random bytes, kept with the rest. Without them, whoever knows all validation images but one
            could compute the reports for each guess at that image, and compare their hashes with the public ledger.
    """
    content: dict[str, Any] = {"round": round_index, "salt": salt.hex()}
    if isinstance(found, DecodeFailure):
        content["decode_failure"] = found.evidence
    else:
        content["reports"] = [asdict(report) for report in found]
    return json.dumps(content, indent=2).encode()


def kept_salt(content: bytes | None) -> bytes | None:
    """The salt in stored reports; None where there are none, or none that can be read."""
    try:
        return checked_json(_Salted, content or b"", "The report", EvidenceError, "").salt
    except EvidenceError:
        return None


def evidence_hash(content: bytes) -> bytes:
    """32 bytes that bind a vote to its reports without showing them, for these are salted."""
    return sha256(content)
