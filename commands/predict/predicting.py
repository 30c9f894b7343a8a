"""Score images one by one with a trained model, and tell of each; what cannot be read is named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commands import console
from commands.image_files import image_files
from commands.predict.calibrating import Calibrated, calibration_of
from commands.predict.telling import Prediction, Report, as_csv, as_json_value, tell
from fedward.dataset.reading import read_files
from fedward.dataset.records import Entry, Listing
from fedward.dataset.walking import printable
from fedward.errors import DataError, UsageError
from fedward.figures.histograms import called_positive, sigmoid
from fedward.files import resolved, write_atomic
from fedward.folders.arrays import PRIVATE
from fedward.learning.model_file import load_card, load_logits
from fedward.learning.stored_model import ModelCard
from fedward.types import Vector

_SHOWN = 40  # files that an error names


@dataclass(frozen=True)
class _Read:
    """What the files gave, by their places among all.

    Attributes:
        images: uint8, shape (n, size, size); of the files that were read.
        rows: The row of each file that was read.
        reasons: Why each other file was not.
    """

    images: NDArray[np.uint8]
    rows: dict[int, int]
    reasons: dict[int, str]


def predict_images(model: Path, images: Sequence[Path], as_json: bool, csv: Path | None) -> None:
    """Print, of each image, probability and decision of every finding.

    Args:
        model: A run's folder, or a model file.
        images: Files, or folders of them.
        as_json: Print JSON rather than lines.
        csv: A new file for the same as CSV; None: none.

    Raises:
        UsageError: the CSV file is there already.
        DataError: model or images are missing or damaged; or some images could not be read, after the others were told.
        EvidenceError: the run's folder is damaged.
    """
    if csv is not None and csv.exists():
        raise UsageError(f"{csv} is there already.", "Name a new file, or remove it.")
    path = model / "model.keras" if model.is_dir() else model
    card = load_card(path)
    calibrated = calibration_of(model, card)
    files, left_out = image_files(images)
    for item in left_out:
        console.warn(f"Not looked at: {item.name} ({item.reason}).")
    read = _read(files, card)
    logits = load_logits(path, (read.images[..., None] / np.float32(255)).astype(np.float32))
    if not np.isfinite(logits).all():
        raise DataError(f"{path} gives scores that are no numbers.", "Use another model.")
    report = Report(str(path), card, calibrated.told, _predictions(files, read, logits, card, calibrated))
    if csv is not None:
        write_atomic(resolved(csv), as_csv(report).encode(), PRIVATE)
    if as_json:
        console.data(as_json_value(report))
    else:
        tell(report)
    if read.reasons:
        raise _unread(report)


def _read(files: Sequence[Path], card: ModelCard) -> _Read:
    """Decode the files as training does; nothing of them is kept in the cache."""
    entries = tuple(Entry(str(place), (), "", None, path) for place, path in enumerate(files))
    listing = Listing("files", entries, card.class_names, "", exclusive=False)
    with console.bar("Reading images") as report:
        table = read_files(listing, card.image_size, report, workers=0, cache_folder=None)
    rows = {int(entry.name): row for row, entry in enumerate(table.entries)}
    reasons = {int(item.name): item.reason for item in (*table.unreadable, *table.not_images)}
    return _Read(table.images, rows, reasons)


def _predictions(
    files: Sequence[Path], read: _Read, logits: Vector, card: ModelCard, calibrated: Calibrated
) -> tuple[Prediction, ...]:
    """What is said of each file, in their order."""
    scores, probabilities = sigmoid(logits), calibrated.probabilities(logits)
    called = called_positive(scores, card.thresholds)
    found = []
    for place, path in enumerate(files):
        name = printable(str(path))
        if place in read.reasons:
            found.append(Prediction(name, (), (), (), read.reasons[place]))
        else:
            row = read.rows[place]
            found.append(
                Prediction(
                    name,
                    tuple(scores[row].tolist()),
                    tuple(probabilities[row].tolist()),
                    tuple(called[row].tolist()),
                )
            )
    return tuple(found)


def _unread(report: Report) -> DataError:
    """The error that some files could not be read, naming them."""
    unread = [each for each in report.predictions if each.problem]
    told = ", ".join(f"{each.image} ({each.problem})" for each in unread[:_SHOWN])
    more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
    return DataError(
        f"{len(unread)} of {len(report.predictions)} files could not be read: {told}{more}; the others were scored.",
        "Replace these files, or leave them out.",
    )
