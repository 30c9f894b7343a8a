"""Validation figures with `metrics.encrypted`: opened from encrypted sums at the run's end, with hospitals' keys."""

import json
from typing import Any

from blockchain.ledger.ledger import Ledger
from blockchain.run_end import open_validation_counts
from commands import console
from fedward.ciphertexts.encrypted_counts import EncryptedCounts
from fedward.errors import EncryptionError, EvidenceError, VerificationError
from fedward.figures.histograms import UNDECIDED, ScoreHistogram
from fedward.files import write_atomic
from fedward.folders.hospital import PRIVATE
from fedward.folders.round_log import validation_figures
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.settings import Settings
from fedward.sharing.terms import Purpose

Rounds = list[dict[str, Any]]


def with_figures(folder: SimulationFolder, record: RunRecord, ledger: Ledger, settings: Settings) -> Rounds:
    """The finished rounds with their validation figures: as the server wrote them, or opened from encrypted sums.

    The opened figures are also written to `hospitals/validation.jsonl`, which belongs to the hospitals and not to the
    server. A round whose sum is missing or implausible has no figures, and thresholds of one half; a warning says why.

    Raises:
        EvidenceError: `metrics.jsonl` is damaged.
        LedgerError: the node cannot be reached.
    """
    rounds = folder.server.rounds()
    if not settings.metrics.encrypted:
        return rounds
    opened = [_figures(folder, record, ledger, settings, int(entry["round"])) for entry in rounds]
    lines = [json.dumps({"round": entry["round"]} | found) for entry, found in zip(rounds, opened, strict=True)]
    path = folder.hospitals / "validation.jsonl"
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode(), PRIVATE)
    areas = ", ".join("none" if found["val_auc"] is None else f"{found['val_auc']:.4f}" for found in opened)
    console.note(f"Validation AUC by round, opened with a hospital's key: {areas or 'none'}. See {path}.")
    return [entry | found for entry, found in zip(rounds, opened, strict=True)]


def _figures(
    folder: SimulationFolder, record: RunRecord, ledger: Ledger, settings: Settings, index: int
) -> dict[str, Any]:
    """A round's figures; those of an empty set of images where no plausible counts can be opened."""
    try:
        counts = folder.server.load_counts(index)
        if counts:
            return validation_figures(_open(folder, counts, record, ledger, settings, index))
    except (EncryptionError, EvidenceError, VerificationError) as error:
        console.warn(f"Round {index} has no validation figures, and thresholds of {UNDECIDED}. {error}")
    undecided = [UNDECIDED] * len(record.findings)
    return validation_figures(None) | {"threshold": UNDECIDED, "thresholds": undecided}


def _open(
    folder: SimulationFolder, counts: EncryptedCounts, record: RunRecord, ledger: Ledger, settings: Settings, index: int
) -> ScoreHistogram:
    """A round's counts, opened by the first hospital with the key: some may have joined after that epoch.

    Raises:
        EvidenceError: no hospital has the key.
    """
    releases = folder.server.round_keys.load_releases(index, Purpose.COUNTS)
    for member in record.roster:
        hospital = folder.hospital(member.hospital)
        try:
            findings = len(record.findings)
            return open_validation_counts(hospital, counts, releases, index, findings, ledger, settings)
        except EvidenceError:
            continue
    raise EvidenceError(
        f"No hospital has the key of round {index}, {ledger.opening(index).context_fingerprint.hex()}.",
        "Restore a backup of a hospital's folder.",
    )
