"""What a finished run says of itself in `summary.json`, read as far as the report needs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from blockchain.ledger.json_fields import Account
from fedward.checked_json import Part, Readable, read_json
from fedward.folders.places import summary_file
from fedward.types import Whole, Word

_NAME = Annotated[str, Readable(255)]
_REMEDY = "Name a finished run's folder."


@dataclass(frozen=True)
class ModelFacts(Part):
    """The model: architecture, size, and SHA-256 of its weights."""

    name: _NAME
    parameters: Whole
    weights_sha256: Word


@dataclass(frozen=True)
class RoundCounts(Part):
    """How rounds ended."""

    opened: Whole
    accepted: Whole
    rejected: Whole
    aborted: Whole


@dataclass(frozen=True)
class PooledScores(Part):
    """Figures on all hospitals' test images, with intervals of 95 % by patient."""

    n: Whole
    patients: Whole
    accuracy: float | None
    auc: float | None
    intervals: Mapping[str, tuple[float, float] | None]


@dataclass(frozen=True)
class Scores(Part):
    """Of all figures the pooled ones."""

    pooled: PooledScores


@dataclass(frozen=True)
class PrivacyFacts(Part):
    """The stated guarantee; None where there is none."""

    mode: _NAME
    unit: _NAME | None
    epsilon: float | None
    delta: float | None


@dataclass(frozen=True)
class EncryptionFacts(Part):
    """How updates were encrypted."""

    ring_degree: Whole
    security_bits: Whole
    exact: bool
    wrong_decode_in_run: float


@dataclass(frozen=True)
class LedgerFacts(Part):
    """Which ledger, and where it ended."""

    chain_id: Whole
    contract: Account
    height: Whole
    head: Word


@dataclass(frozen=True)
class RunFacts(Part):
    """The summary of a run."""

    run_id: _NAME
    hospitals: Whole
    model: ModelFacts
    rounds: RoundCounts
    scores: Scores | None
    privacy: PrivacyFacts
    encryption: EncryptionFacts
    ledger: LedgerFacts
    attack: Any
    objections: tuple[Any, ...]


def facts_of(run: Path) -> RunFacts:
    """Read a run's summary.

    Raises:
        EvidenceError: the run has none, it is malformed, or the run is not finished.
    """
    return read_json(RunFacts, summary_file(run), "The run's summary", _REMEDY)
