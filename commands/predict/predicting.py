"""Score images one by one with a trained model, and tell of each; what cannot be read is named."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commands import console
from commands.beside_a_model import keeps_sealed
from commands.image_files import image_files
from commands.new_folder import check_new
from commands.predict.calibrating import Calibrated, calibration_of
from commands.predict.explaining import Subject, write_explanations
from commands.predict.report import Prediction, Report
from commands.predict.telling import as_csv, as_json_value, tell
from fedward.dataset.reading import read_files
from fedward.dataset.records import Entry, Listing
from fedward.dataset.walking import printable
from fedward.entry import private_files
from fedward.errors import DataError, UsageError
from fedward.explaining.unlike import unlike
from fedward.figures.histograms import called_positive, sigmoid
from fedward.files import making_folder, resolved, write_atomic
from fedward.folders.arrays import PRIVATE
from fedward.learning.model import Classifier
from fedward.learning.model_file import load_classifier
from fedward.learning.stored_model import ModelCard
from fedward.types import Vector

_SHOWN = 40  # files that an error names
_UNSEALED = (
    "Beside this model, images are kept sealed on the disk (image-encryption.method), and these pictures lie open: "
    "remove them when you have looked at them."
)


@dataclass(frozen=True)
class _Read:
    """What the files gave, by their places among all.

    Attributes:
        files: All of them.
        images: uint8, shape (n, size, size); of the files that were read.
        rows: The row of each file that was read.
        reasons: Why each other file was not.
    """

    files: Sequence[Path]
    images: NDArray[np.uint8]
    rows: dict[int, int]
    reasons: dict[int, str]

    def pixels(self) -> Vector:
        """The model's input: float32, shape (n, size, size, 1)."""
        return (self.images[..., None] / np.float32(255)).astype(np.float32)


def predict_images(
    model: Path, images: Sequence[Path], as_json: bool, csv: Path | None, explain: Path | None = None
) -> None:
    """Print, of each image, probability and decision of every finding, and how it is unlike a chest X-ray where it is.

    Args:
        model: A run's folder, or a model file.
        images: Files, or folders of them.
        as_json: Print JSON rather than lines.
        csv: A new file for the same as CSV; None: none.
        explain: A new folder for pictures with heat maps; None: none.

    Raises:
        UsageError: the CSV file is there already, or the folder is in use.
        DataError: model or images are missing or damaged; or some images could not be read, after the others were told.
        EvidenceError: the run's folder is damaged.
        ResourceError: the disk is full or a folder cannot be written.
    """
    _check_outputs(csv, explain)
    path = model / "model.keras" if model.is_dir() else model
    classifier, card = load_classifier(path)
    calibrated = calibration_of(model, card)
    files, left_out = image_files(images)
    for item in left_out:
        console.warn(f"Not looked at: {item.name} ({item.reason}).")
    read = _read(files, card)
    logits = classifier.whole_logits(read.pixels())
    if not np.isfinite(logits).all():
        raise DataError(f"{path} gives scores that are no numbers.", "Use another model.")
    report = Report(str(path), card, calibrated.told, _predictions(read, logits, card, calibrated))
    if explain is not None:
        if keeps_sealed(path.parent):
            console.warn(_UNSEALED)
        report = _with_pictures(report, read, _likeliest(logits, card), classifier, explain)
    if csv is not None:
        write_atomic(resolved(csv), as_csv(report).encode(), PRIVATE)
    if as_json:
        console.data(as_json_value(report))
    else:
        tell(report)
    odd = sum(bool(each.unlike) for each in report.predictions)
    if odd:
        console.warn(
            f"{odd} of {len(read.rows)} images are unlike an upright chest X-ray; what is said of them means little."
        )
    if read.reasons:
        raise _unread(report)


def _check_outputs(csv: Path | None, explain: Path | None) -> None:
    """Find out before any work that what is to be written has a place, and replaces nothing."""
    if csv is not None and csv.exists():
        raise UsageError(f"{csv} is there already.", "Name a new file, or remove it.")
    if csv is not None and not resolved(csv).parent.is_dir():
        raise UsageError(f"There is no folder {resolved(csv).parent} for {csv.name}.", "Make it, or name another file.")
    if explain is not None:
        check_new(resolved(explain), "--explain")


def _read(files: Sequence[Path], card: ModelCard) -> _Read:
    """Decode the files as training does; nothing of them is kept in the cache."""
    entries = tuple(Entry(str(place), (), "", None, path) for place, path in enumerate(files))
    listing = Listing("files", entries, card.class_names, "", exclusive=False)
    with console.bar("Reading images") as report:
        table = read_files(listing, card.image_size, report, workers=0, cache_folder=None)
    for item in table.partly:
        console.warn(f"Not all of {printable(str(files[int(item.name)]))} is used: {item.reason}.")
    rows = {int(entry.name): row for row, entry in enumerate(table.entries)}
    reasons = {int(item.name): item.reason for item in (*table.unreadable, *table.not_images)}
    return _Read(files, table.images, rows, reasons)


def _predictions(read: _Read, logits: Vector, card: ModelCard, calibrated: Calibrated) -> tuple[Prediction, ...]:
    """What is said of each file, in their order."""
    scores, probabilities = sigmoid(logits), calibrated.probabilities(logits)
    called, odd = called_positive(scores, card.thresholds), unlike(read.images)
    found = []
    for place, path in enumerate(read.files):
        name = printable(str(path))
        if place in read.reasons:
            found.append(Prediction(name, (), (), (), read.reasons[place]))
            continue
        row = read.rows[place]
        told = Prediction(
            name,
            tuple(scores[row].tolist()),
            tuple(probabilities[row].tolist()),
            tuple(called[row].tolist()),
            unlike=odd[row],
        )
        found.append(told)
    return tuple(found)


def _likeliest(logits: Vector, card: ModelCard) -> NDArray[np.intp]:
    """Of each image the finding that is furthest above its threshold, or least below it, in logits."""
    limits = np.clip(np.array(card.thresholds), 1e-9, 1 - 1e-9)
    return np.asarray((logits - np.log(limits / (1 - limits))).argmax(axis=1), np.intp)


def _with_pictures(
    report: Report, read: _Read, findings: NDArray[np.intp], classifier: Classifier, explain: Path
) -> Report:
    """Write the pictures into a new folder, all of them or none; the report, with what became of them."""
    folder = resolved(explain)
    subjects = [Subject(place, read.files[place], report.predictions[place]) for place in read.rows]
    with private_files(), making_folder(folder) as unfinished, console.bar("Drawing pictures") as progress:
        made = write_explanations(subjects, read.pixels(), findings, classifier, report.card, unfinished, progress)
    predictions = tuple(
        dataclasses.replace(each, explanation=made.get(place)) for place, each in enumerate(report.predictions)
    )
    return dataclasses.replace(report, predictions=predictions, pictures=str(explain))


def _unread(report: Report) -> DataError:
    """The error that some files could not be read, naming them."""
    unread = [each for each in report.predictions if each.problem]
    told = ", ".join(f"{each.image} ({each.problem})" for each in unread[:_SHOWN])
    more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
    return DataError(
        f"{len(unread)} of {len(report.predictions)} files could not be read: {told}{more}; the others were scored.",
        "Replace these files, or leave them out.",
    )
