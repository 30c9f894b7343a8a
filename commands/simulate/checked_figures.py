"""Validation figures at the run's end: from counts that a hospital checked against the votes, not the server's word."""

import json
from typing import Any

from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundPhase
from blockchain.run_end import validation_counts
from commands import console
from fedward.errors import EncryptionError, EvidenceError, VerificationError
from fedward.figures.histograms import UNDECIDED, ScoreHistogram
from fedward.figures.validation import differing_figure, validation_figures
from fedward.files import write_atomic
from fedward.folders.arrays import PRIVATE
from fedward.folders.round_counts import RoundCounts
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.settings import Settings
from fedward.sharing.terms import Purpose

Rounds = list[dict[str, Any]]


def with_figures(folder: SimulationFolder, record: RunRecord, ledger: Ledger, settings: Settings) -> Rounds:
    """The finished rounds with validation figures made from checked counts; encrypted ones are opened for it.

    Opened figures are also written to `hospitals/validation.jsonl`, which belongs to the hospitals and not to the
    server. A round whose counts are missing or implausible has no figures, and thresholds of one half; a warning says
    why.

    Raises:
        EvidenceError: `metrics.jsonl` is damaged.
        VerificationError: the server kept other counts than hospitals signed, or states other figures than these give.
        LedgerError: the node cannot be reached.
    """
    rounds, encrypted = folder.server.rounds(), settings.metrics.encrypted
    _check_rounds(rounds, ledger)
    found = [_figures(folder, record, ledger, settings, int(entry["round"])) for entry in rounds]
    if encrypted:
        _write(folder, rounds, found)
    else:
        for entry, figures in zip(rounds, found, strict=True):
            _compare(entry, figures)
    return [entry | figures for entry, figures in zip(rounds, found, strict=True)]


def _check_rounds(rounds: Rounds, ledger: Ledger) -> None:
    """Compare which rounds the server tells of, and how they ended, with the ledger: the last accepted one decides."""
    told = {entry["round"]: entry["phase"] for entry in rounds}
    ended = {index: ledger.round(index).phase.name.lower() for index in range(1, ledger.latest_round() + 1)}
    if told != ended or len(rounds) != len(ended):
        wrong = next((index for index in sorted({*told, *ended}) if told.get(index) != ended.get(index)), None)
        raise VerificationError(
            f"The server's metrics state that round {wrong} was {told.get(wrong, 'never')}, on the ledger it was "
            f"{ended.get(wrong, 'never')}."
            if wrong is not None
            else "The server's metrics tell of a round twice.",
            "Do not trust what this server reported.",
        )


def _write(folder: SimulationFolder, rounds: Rounds, found: Rounds) -> None:
    """Write opened figures down, at the hospitals."""
    lines = [json.dumps({"round": entry["round"]} | figures) for entry, figures in zip(rounds, found, strict=True)]
    path = folder.hospitals / "validation.jsonl"
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode(), PRIVATE)
    areas = ", ".join("none" if figures["val_auc"] is None else f"{figures['val_auc']:.4f}" for figures in found)
    console.note(f"Validation AUC by round, opened by a hospital: {areas or 'none'}. See {path}.")


def _compare(stated: dict[str, Any], figures: dict[str, Any]) -> None:
    """Compare what the server wrote with what the checked counts give, where there are any."""
    name = differing_figure(stated, figures) if figures["val_n"] else None
    if name:
        raise VerificationError(
            f"The server's metrics of round {stated['round']} state {name} {stated.get(name)!r:.80}; the counts that "
            f"hospitals signed in their votes make it {figures[name]!r:.80}.",
            "Do not trust what this server reported.",
        )


def _figures(
    folder: SimulationFolder, record: RunRecord, ledger: Ledger, settings: Settings, index: int
) -> dict[str, Any]:
    """A round's figures; those of an empty set of images where no plausible counts are there or can be opened."""
    none = validation_figures(None)
    if settings.metrics.encrypted:
        none |= {"threshold": UNDECIDED, "thresholds": [UNDECIDED] * len(record.findings)}
    try:
        kept = folder.server.counts.load(index)
        if kept is None and ledger.round(index).phase is RoundPhase.ABORTED:
            return none
        counts = _checked(folder, kept or RoundCounts({}, {}, ()), record, ledger, settings, index)
    except (EncryptionError, EvidenceError) as error:
        console.warn(f"Round {index} has no validation figures, and thresholds of {UNDECIDED}. {error}")
        return none
    return validation_figures(counts) if counts else none


def _checked(
    folder: SimulationFolder, kept: RoundCounts, record: RunRecord, ledger: Ledger, settings: Settings, index: int
) -> ScoreHistogram | None:
    """A round's counts, checked, and opened by the first hospital with the key: some may have joined after that epoch.

    Raises:
        EvidenceError: some counts are missing, or no hospital has the key.
    """
    problem: EvidenceError | None = None
    for member in record.roster:
        try:
            return validation_counts(
                folder.hospital(member.hospital),
                kept,
                folder.server.ciphertexts,
                lambda: folder.server.round_keys.load_releases(index, Purpose.COUNTS),
                index,
                len(record.findings),
                ledger,
                settings,
            )
        except EvidenceError as error:
            problem = problem or error
    raise problem or EvidenceError("The run lists no hospital.", "Restore run.json from a backup.")
