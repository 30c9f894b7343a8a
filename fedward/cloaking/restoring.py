"""Restore cloaked images by an opened reader file: what `main.py restore` does beside finding keys.

Without originals, the reader's estimate of what cloaking did to the square is taken off the picture at its own
resolution, and never more than cloaking can have done: details that the reader's small image does not have stay.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedward.cloaking.carrying import carry
from fedward.cloaking.protecting import open_picture
from fedward.cloaking.reader_file import MAX_BYTES, CloakedFile, Terms
from fedward.cloaking.sealed_originals import open_original, sealed_name
from fedward.dataset.apart import Helpers
from fedward.dataset.decoding import quiet_decoders
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.reading import decode_apart
from fedward.errors import DataError, EvidenceError, FedwardError, VerificationError
from fedward.figures.histograms import called_positive, sigmoid
from fedward.files import read_file, sha256, write_atomic
from fedward.progress import Progress
from fedward.types import Vector

LABELS = "labels.csv"
COLUMNS = ("image", "finding", "probability", "positive", "label_of_sender")
PRIVATE = 0o600

_AGAIN = "Ask the sender for the folder again."


class Reads(Protocol):
    """A reconstruction model, as `fedward.reconstruction` has them."""

    def images(self, encrypted: Vector) -> Vector | None:
        """Restored images; None where it restores labels only."""

    def scores(self, encrypted: Vector) -> Vector | None:
        """Logits, shape (n, findings); None where it restores images only."""


@dataclass(frozen=True)
class Label:
    """What is known of one finding in one image.

    Attributes:
        image: Name of the image.
        finding: Name of the finding.
        probability: The reader's.
        positive: Whether that is at the finding's threshold or above.
        of_sender: What the sender's own data says, 0 or 1; None where it says nothing.
    """

    image: str
    finding: str
    probability: float
    positive: bool
    of_sender: int | None


@dataclass(frozen=True)
class Restored:
    """What was restored.

    Attributes:
        labels: A line for each finding of each restored image.
        exact: Whether images are the originals, bit for bit, and no estimates.
        problems: A sentence for each image that could not be restored.
    """

    labels: tuple[Label, ...]
    exact: bool
    problems: tuple[str, ...]


def restore_files(folder: Path, terms: Terms, reader: Reads, into: Path, report: Progress) -> Restored:
    """Restore all images of a folder that can be, and write them with their labels.

    Args:
        folder: The cloaked images.
        terms: What the reader file says of them.
        reader: The reader file's reconstruction model.
        into: An empty folder.
        report: Told after each image.

    Raises:
        VerificationError, EvidenceError: none of the images can be restored; says why of the first.
        DataError: the reader restores no labels, or no images where there are no originals.
        ResourceError: the disk is full or the folder cannot be written.

    Guarantees:
        1. Nothing of an image is written whose file, or whose original where there is one, is not what was sent.
    """
    problems: list[str] = []
    squares: dict[CloakedFile, NDArray[np.uint8]] = {}
    with quiet_decoders():
        with Helpers() as helpers:
            for done, file in enumerate(terms.files, 1):
                try:
                    content = _sent(folder, file.name, file.digest)
                    squares[file] = decode_apart(content, terms.image_size, helpers, lambda _samples: None).image
                except FedwardError as error:
                    problems.append(str(error))
                except UnreadableImageError as error:
                    problems.append(f"{file.name} cannot be used: {error}.")
                report(done, 2 * len(terms.files))
        if not squares:
            raise _nothing(problems, folder)
        files = list(squares)
        pixels = (np.stack([squares[file] for file in files])[..., None] / np.float32(255)).astype(np.float32)
        images, logits = reader.images(pixels), reader.scores(pixels)
        labels: list[Label] = []
        for row, file in enumerate(files):
            try:
                content = (
                    _original(folder, file, terms) if file.original else _estimate(folder, file, images, row, terms)
                )
            except FedwardError as error:
                problems.append(str(error))
            else:
                write_atomic(into / file.name, content, PRIVATE)
                labels += _labels(file, terms, logits, row)
            report(len(terms.files) + row + 1, 2 * len(terms.files))
    if not labels:
        raise _nothing(problems, folder)
    write_atomic(into / LABELS, _table(labels), PRIVATE)
    return Restored(tuple(labels), any(file.original for file in files), tuple(problems))


def _sent(folder: Path, name: str, digest: bytes) -> bytes:
    """A file of the folder, if it is the one that was sent."""
    content = read_file(folder / name, MAX_BYTES, f"The file {name}", _AGAIN)
    if sha256(content) != digest:
        raise VerificationError(f"{name} is damaged: it is not the file that goes with this reader file.", _AGAIN)
    return content


def _original(folder: Path, file: CloakedFile, terms: Terms) -> bytes:
    """The original, decrypted."""
    name = sealed_name(file.name)
    sealed = _sent(folder, name, file.original or b"")
    return open_original(sealed, terms.key, terms.folder, file.name)


def _estimate(folder: Path, file: CloakedFile, images: Vector | None, row: int, terms: Terms) -> bytes:
    """The picture with the reader's correction, at its own resolution."""
    if images is None:
        raise DataError("The reader restores no images, and there are no originals.", _AGAIN)
    if not np.isfinite(images[row]).all():
        raise DataError(f"The reader gives no numbers for {file.name}.", _AGAIN)
    try:
        picture = open_picture(_sent(folder, file.name, file.digest))
    except UnreadableImageError as error:
        raise DataError(f"{file.name} cannot be used: {error}.", _AGAIN) from error
    values = carry(picture, images[row, ..., 0] * np.float32(255), terms.most_change)
    return picture.write(values, "restored")


def _labels(file: CloakedFile, terms: Terms, logits: Vector | None, row: int) -> list[Label]:
    """A line for each finding."""
    if logits is None:
        raise DataError("The reader restores no labels.", _AGAIN)
    scores = sigmoid(logits[row : row + 1])
    called = called_positive(scores, terms.thresholds)[0]
    of_sender: Sequence[int | None] = file.labels or (None,) * len(terms.findings)
    return [
        Label(file.name, finding, float(scores[0, column]), bool(called[column]), of_sender[column])
        for column, finding in enumerate(terms.findings)
    ]


def _table(labels: Sequence[Label]) -> bytes:
    """labels.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for label in labels:
        of_sender = "" if label.of_sender is None else label.of_sender
        writer.writerow((label.image, label.finding, f"{label.probability:.6f}", int(label.positive), of_sender))
    return text.getvalue().encode()


def _nothing(problems: Sequence[str], folder: Path) -> FedwardError:
    """The error where no image could be restored."""
    if not problems:
        return EvidenceError("The reader file names no images.", _AGAIN)
    if len(problems) > 1:
        return VerificationError(
            f"None of the {len(problems)} images that the reader file names is in {folder} as it was sent; the first: "
            f"{problems[0]}",
            "Name the folder that the reader file came with.",
        )
    return VerificationError(problems[0], "Nothing was written.")
