"""Results of labs, read from their folders: which lab, its tables, its verdict, the command that made them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from commands.lab import (
    backdoor_tables,
    image_encryption_tables,
    leakage_tables,
    membership_tables,
    neural_crypto_tables,
    robustness_tables,
)
from commands.lab.leakage_run import tables as leakage_run_tables
from commands.lab.sheets import Sheet
from fedward.errors import EvidenceError
from fedward.files import parse_json, read_file

_MOST_BYTES = 64 * 1024 * 1024
_REMEDY = "Name a folder that `main.py lab` of this version filled with --out."

# By the lab's name, what makes tables of its summary.
TABLES: Mapping[str, Callable[[dict[str, Any]], tuple[Sheet, ...]]] = MappingProxyType(
    {
        "backdoor": backdoor_tables.sheets,
        "image-encryption": image_encryption_tables.sheets,
        "leakage": leakage_tables.sheets,
        "leakage-run": leakage_run_tables.sheets,
        "membership": membership_tables.sheets,
        "neural-crypto": neural_crypto_tables.sheets,
        "robustness": robustness_tables.sheets,
    }
)


@dataclass(frozen=True)
class LabResult:
    """What a lab found.

    Attributes:
        lab: Its name.
        command: What made it, as it is typed.
        data: Where its images came from.
        model_digest: SHA-256 of the weights that it measured, hexadecimal; empty where it trained its own models.
        threat_model: In words; empty where the lab's page has it.
        verdict: In words; empty where the lab has none.
        sheets: Its tables.
        summary: All of its figures.
    """

    lab: str
    command: str
    data: str
    model_digest: str
    threat_model: str
    verdict: str
    sheets: Sequence[Sheet] = field(repr=False)
    summary: Mapping[str, Any] = field(repr=False)

    def is_of(self, model_digest: bytes) -> bool:
        """Whether this very model was measured."""
        return self.model_digest == model_digest.hex()


def read_result(folder: Path) -> LabResult:
    """Read a lab's folder.

    Raises:
        EvidenceError: there is no result, it is malformed, or an earlier version made it, which did not say of what.
    """
    path = folder / "summary.json"
    content = read_file(path, _MOST_BYTES, "The lab's summary", _REMEDY)
    try:
        summary = parse_json(content)
        made = summary["made"]
        lab, command, data, digest = (str(made[name]) for name in ("lab", "command", "data", "model_digest"))
        sheets = TABLES[lab](summary)
        threat_model, verdict = (str(summary.get(name, "")) for name in ("threat_model", "verdict"))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise EvidenceError(f"{path} is no result of a lab that says of what it is.", _REMEDY) from error
    return LabResult(lab, command, data, digest, threat_model, verdict, sheets, summary)
