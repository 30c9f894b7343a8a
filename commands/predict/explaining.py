"""Write for each image a picture of what speaks for its most likely finding."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commands.predict.report import Explanation, Prediction
from commands.predict.telling import NOT_FOR_DIAGNOSIS, shown
from fedward.dataset.decoding import quiet_decoders, read_bytes
from fedward.dataset.dicom import decode_dicom, is_dicom
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.rasters import decode_raster
from fedward.explaining.heat_maps import METHODS
from fedward.explaining.picture import as_png, explained
from fedward.explaining.secondary_capture import secondary_capture
from fedward.files import write_atomic
from fedward.learning.model import Classifier
from fedward.learning.stored_model import ModelCard
from fedward.progress import Progress
from fedward.types import Vector

_BATCH = 64  # images whose heat maps are in memory at a time
_IDENTITY_BYTES = 32


@dataclass(frozen=True)
class Subject:
    """An image to be explained.

    Attributes:
        place: Its place among all files, from 0; its picture is numbered from 1.
        path: Its file.
        prediction: What was said of it.
    """

    place: int
    path: Path
    prediction: Prediction


def write_explanations(
    subjects: Sequence[Subject],
    pixels: Vector,
    findings: NDArray[np.intp],
    classifier: Classifier,
    card: ModelCard,
    into: Path,
    report: Progress,
) -> dict[int, Explanation]:
    """Write the pictures.

    Args:
        subjects: The images.
        pixels: What the model saw of them: float32, shape (n, size, size, 1).
        findings: Of each, the finding that its picture is about, as a place among the outputs; shape (n,).
        classifier: The model.
        card: Its card.
        into: An empty folder.
        report: Told after each image.

    Returns:
        What became of each, by its place.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    method = METHODS[card.name]
    found: dict[int, Explanation] = {}
    with quiet_decoders():
        for start in range(0, len(subjects), _BATCH):
            some = slice(start, start + _BATCH)
            maps = method.maps(classifier, pixels[some], findings[some])
            for subject, heat, output in zip(subjects[some], maps, findings[some].tolist(), strict=True):
                found[subject.place] = _write(subject, heat, output, card, into)
                report(len(found), len(subjects))
    return found


def _write(subject: Subject, heat: Vector, output: int, card: ModelCard, into: Path) -> Explanation:
    """One picture; DICOM for DICOM, PNG for everything else."""
    finding, method = card.findings[output], METHODS[card.name]
    try:
        content = read_bytes(subject.path)
        source = decode_dicom(content) if is_dicom(content) else decode_raster(content)
    except UnreadableImageError as error:
        return Explanation(finding, "", str(error))
    if source.burned_in:
        return Explanation(finding, "", "its header says that text is burned into its pixels, which may name somebody")
    probability, called = subject.prediction.probabilities[output], subject.prediction.called[output]
    said = (
        f"{finding}: probability {shown(probability)}, {'called' if called else 'not called'} by the model's threshold."
    )
    colors = f"Orange speaks for {finding}{', blue against it' if method.against else ''}: {method.told}."
    odd = subject.prediction.unlike
    warning = (f"Unlike an upright chest X-ray: {odd}. What is said of it means little.",) if odd else ()
    lines = (said, *warning, f"{colors} Colors are relative to this image's strongest place.", NOT_FOR_DIAGNOSIS)
    pixels, told = explained(source.grey, heat, lines), " ".join(lines)
    number = f"{subject.place + 1:04d}"
    if is_dicom(content):
        name, written = f"{number}.dcm", secondary_capture(pixels, told, secrets.token_bytes(_IDENTITY_BYTES))
    else:
        name, written = f"{number}.png", as_png(pixels, told)
    write_atomic(into / name, written)
    return Explanation(finding, name)
