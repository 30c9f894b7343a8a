"""Stage 10, vote: from detector reports to a verdict, and the hash under which the evidence is kept."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from fedward.files import parse_json, sha256
from fedward.types import DetectorReport

SALT_BYTES = 16


def accepts(reports: Sequence[DetectorReport]) -> bool:
    """A hospital accepts a candidate that none of its detectors finds suspicious."""
    return not any(report.suspicious for report in reports)


def report_bytes(round_index: int, reports: Sequence[DetectorReport], salt: bytes) -> bytes:
    """The reports as they are kept at the hospital, and hashed into its vote.

    Args:
        round_index: The round.
        reports: What the detectors found.
        salt: `SALT_BYTES` random bytes, kept with the reports. Without them, whoever knows all validation images but
            one could work the reports out for each guess at it, and compare hashes on the public ledger.
    """
    content = {"round": round_index, "salt": salt.hex(), "reports": [asdict(report) for report in reports]}
    return json.dumps(content, indent=2).encode()


def kept_salt(content: bytes | None) -> bytes | None:
    """The salt in stored reports; None where there are none, or none that can be read."""
    try:
        salt = bytes.fromhex(parse_json(content or b"")["salt"])
    except (ValueError, KeyError, TypeError):
        return None
    return salt if len(salt) == SALT_BYTES else None


def evidence_hash(content: bytes) -> bytes:
    """32 bytes that bind a vote to its reports without showing them, for these are salted."""
    return sha256(content)
