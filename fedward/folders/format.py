"""The format of a run: which versions of Fedward can read what a run left behind."""

from typing import Any

from fedward.errors import EvidenceError
from fedward.files import parse_json

# 2: every hospital encrypts each round under a key of its own. 3: numbers are coefficients, not slots (docs/adr/0041).
FORMAT = 3


def check_format(content: bytes, what: str, key: str = "format") -> None:
    """Refuse a run of another format in one sentence that says which version reads it; anything else passes.

    Args:
        content: JSON that names the format: a run's record, or a bundle's manifest.
        what: What to call the run.
        key: Under which key the format stands. The first format has none in a record.

    Raises:
        EvidenceError: the run is of another format.
    """
    try:
        fields: Any = parse_json(content)
    except ValueError:
        return  # damaged: whoever reads it next says so
    found = fields.get(key, 1) if isinstance(fields, dict) else FORMAT
    if found == FORMAT:
        return
    earlier = {
        1: "0.1, in which all hospitals shared one encryption key",
        2: "0.2 before its release, when opened sums told more than sums",
    }
    version = earlier.get(found if isinstance(found, int) else 0, f"of format {found}")
    raise EvidenceError(f"{what} was made by Fedward {version}.", "Read it with that version.")
