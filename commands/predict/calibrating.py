"""The calibration of a run's model: fitted to the validation counts that the run's folder keeps of its last model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward.errors import EvidenceError
from fedward.figures.calibration import FEWEST, Calibration, calibrations
from fedward.figures.histograms import wide_sigmoid
from fedward.folders.simulation import SimulationFolder
from fedward.learning.stored_model import ModelCard
from fedward.types import Vector

_METHOD = "by Platt scaling"


@dataclass(frozen=True)
class Calibrated:
    """How a model's probabilities are told.

    Attributes:
        each: Of each finding its calibration; None where there is none.
        told: A sentence for the reader.
    """

    each: tuple[Calibration | None, ...]
    told: str

    def probabilities(self, logits: Vector) -> NDArray[np.float64]:
        """Probabilities, calibrated where there is a calibration.

        Args:
            logits: float32, shape (n, findings).

        Returns:
            float64, same shape.
        """
        columns = [
            found.probabilities(logits[:, k]) if found else wide_sigmoid(logits[:, k].astype(np.float64))
            for k, found in enumerate(self.each)
        ]
        return np.stack(columns, axis=1)


def calibration_of(model: Path, card: ModelCard) -> Calibrated:
    """The calibration that a run's folder gives; none where the model lies by itself.

    A model's card has thresholds and no counts. The counts that those thresholds were chosen by are in the server's
    part of the run's folder, where `metrics.encrypted` did not hide them.

    Args:
        model: A run's folder, or a model file.
        card: The model's.

    Raises:
        EvidenceError: the run's folder is damaged.
        VerificationError: a file of it is malformed.
    """
    none = (None,) * len(card.findings)
    if not model.is_dir():
        return Calibrated(none, "Not calibrated: a model file has no validation counts; name its run's folder.")
    server = SimulationFolder(model).server
    accepted = [int(entry["round"]) for entry in server.rounds() if entry.get("phase") == "accepted"]
    kept = server.counts.load(accepted[-1]) if accepted else None
    if kept is None:
        return Calibrated(none, "Not calibrated: this folder keeps no validation counts of the model.")
    if kept.encrypted:
        return Calibrated(none, "Not calibrated: the run's validation counts are encrypted, and only their sum opens.")
    counts = kept.pooled({member.address: member.weight for member in server.load_record().roster})
    if counts is None or not np.allclose(counts.thresholds(), card.thresholds, rtol=0, atol=1e-9):
        raise EvidenceError(
            f"The validation counts in {model} are not those that this model's thresholds were chosen by.",
            "Name the model file by itself, or restore the run's folder from a backup.",
        )
    found = calibrations(counts)
    missing = [name for name, each in zip(card.findings, found, strict=True) if each is None]
    told = f"Probabilities are calibrated {_METHOD} on {counts.n} validation images of the run."
    if len(missing) == len(found):
        return Calibrated(
            none, f"Not calibrated: fewer than {FEWEST} validation images of a class, or scores that err."
        )
    if missing:
        told += f" Not calibrated, for want of images or of skill: {', '.join(missing)}."
    return Calibrated(found, told)
