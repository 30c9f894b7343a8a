"""Stage 10, vote: from detector reports to a verdict, and the hash under which the evidence is kept."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from fedward.files import sha256
from fedward.types import DetectorReport


def accepts(reports: Sequence[DetectorReport]) -> bool:
    """A hospital accepts a candidate that none of its detectors finds suspicious."""
    return not any(report.suspicious for report in reports)


def report_bytes(round_index: int, reports: Sequence[DetectorReport]) -> bytes:
    """The reports as they are kept at the hospital, and hashed into its vote."""
    return json.dumps({"round": round_index, "reports": [asdict(report) for report in reports]}, indent=2).encode()


def evidence_hash(content: bytes) -> bytes:
    """32 bytes that bind a vote to its reports without showing them."""
    return sha256(content)
