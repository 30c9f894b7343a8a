"""Cloak image files and write them into a folder: what `main.py protect` does beside training the reader.

Whether an image is hidden is decided on the file as it was written, read again by the project's own reading path: a
change that rounding, a window or the filter took away does not count.
"""

import dataclasses
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fedward.cloaking.carrying import carry
from fedward.cloaking.dicom import dicom_picture
from fedward.cloaking.pictures import Picture, square_of
from fedward.cloaking.png import raster_picture
from fedward.cloaking.reader_file import CloakedFile
from fedward.cloaking.sealed_originals import seal_original, sealed_name
from fedward.dataset.apart import Helpers
from fedward.dataset.decoding import quiet_decoders, read_bytes
from fedward.dataset.dicom import is_dicom
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.reading import decode_apart
from fedward.files import sha256, write_atomic
from fedward.progress import Progress
from fedward.types import Vector

State = Literal["hidden", "misread before", "not hidden", "unreadable"]
WRITTEN: tuple[State, ...] = ("hidden", "misread before")

# How far a pixel of the picture may move, in multiples of what the attack moved the square: as far as that, and further
# only where the label came back on the way up.
STRENGTHS = (1.0, 1.5, 2.0)
IDENTITY_BYTES = 32

Perturb = Callable[[Vector, Vector], Vector]
"""An attack on the hospital's model: pixels, float32 (n, size, size, 1) in [0, 1], and labels (n, findings), to pixels
that the model reads otherwise."""


class Judge(Protocol):
    """A classifier that decides: what cloaking is to mislead."""

    def decisions(self, pixels: Vector) -> NDArray[np.bool_]:
        """Which findings it calls: bool, shape (n, findings)."""


@dataclass(frozen=True)
class Source:
    """An image to be cloaked.

    Attributes:
        path: Its file.
        labels: 0 or 1 for each finding; None where nothing but the model tells them.
    """

    path: Path
    labels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of an image.

    Attributes:
        source: Its file.
        name: The file that was written; empty where none was.
        state: "hidden": the model read it rightly before, and wrongly now. "misread before": it is labeled, and the
            model reads another label before and after. "not hidden": it reads the label still. "unreadable".
        reason: Why it is unreadable; empty otherwise.
        moved: By how many grey levels of 255 a pixel moved, at most.
        psnr: Of the picture at its own resolution, in dB; of 255 grey levels.
    """

    source: Path
    name: str
    state: State
    reason: str = ""
    moved: float = 0.0
    psnr: float = math.inf


@dataclass(frozen=True)
class Cloak:
    """How images are cloaked.

    Attributes:
        judge: The classifier that is to be misled.
        perturb: The attack on it.
        image_size: Side of its squares.
        folder: 16 random bytes that name the folder.
        key: 32 random bytes, for this folder alone, under which originals are encrypted; empty: they stay here.
        keep_unhidden: Whether images are written whose label the classifier reads still.
    """

    judge: Judge = field(repr=False)
    perturb: Perturb = field(repr=False)
    image_size: int
    folder: bytes
    key: bytes = field(repr=False)
    keep_unhidden: bool = False


def open_picture(content: bytes) -> Picture:
    """A file as a picture that can be changed and written again.

    Raises:
        UnreadableImageError: it gives no image, or none that can be changed.
    """
    return dicom_picture(content, secrets.token_bytes(IDENTITY_BYTES)) if is_dicom(content) else raster_picture(content)


def cloak_files(
    sources: Sequence[Source], into: Path, cloak: Cloak, report: Progress
) -> tuple[list[Outcome], tuple[CloakedFile, ...]]:
    """Cloak images, and write those that are hidden.

    Args:
        sources: The images.
        into: An empty folder.
        cloak: How.
        report: Told after each image.

    Returns:
        What became of each image, in the order given; and what the reader file is to say of those written.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.

    Guarantees:
        1. Names are numbers in an order that is drawn: neither names nor their order tell label, patient or source.
        2. An image counts as hidden only if the classifier misreads the file that was written.
    """
    outcomes: dict[Source, Outcome] = {}
    squares: dict[Source, NDArray[np.uint8]] = {}
    with quiet_decoders():
        with Helpers() as helpers:
            for done, source in enumerate(sources, 1):
                try:
                    content = read_bytes(source.path)
                    squares[source] = decode_apart(content, cloak.image_size, helpers, lambda _samples: None).image
                except UnreadableImageError as error:
                    outcomes[source] = Outcome(source.path, "", "unreadable", str(error))
                report(done, 2 * len(sources))
        readable = list(squares)
        secrets.SystemRandom().shuffle(readable)
        written: list[CloakedFile] = []
        for source, wanted, labels in zip(readable, *_wanted(readable, squares, cloak), strict=True):
            name = f"{len(written) + 1:04d}"
            outcomes[source], file = _cloak_file(source, name, squares[source], wanted, labels, into, cloak)
            written += [file] if file else []
            report(len(sources) + len(outcomes), 2 * len(sources))
    return [outcomes[source] for source in sources], tuple(written)


def _wanted(
    sources: Sequence[Source], squares: dict[Source, NDArray[np.uint8]], cloak: Cloak
) -> tuple[Vector, NDArray[np.bool_]]:
    """The squares that the classifier is to see, in [0, 255], and the labels that it is to misread."""
    if not sources:
        return np.zeros((0, cloak.image_size, cloak.image_size), np.float32), np.zeros((0, 1), np.bool_)
    pixels = (np.stack([squares[source] for source in sources])[..., None] / np.float32(255)).astype(np.float32)
    labels = cloak.judge.decisions(pixels)
    for row, source in enumerate(sources):
        if source.labels is not None:
            labels[row] = np.array(source.labels, np.bool_)
    perturbed = cloak.perturb(pixels, labels.astype(np.float32))
    return perturbed[..., 0] * np.float32(255), labels


def _cloak_file(
    source: Source,
    number: str,
    square: NDArray[np.uint8],
    wanted: Vector,
    labels: NDArray[np.bool_],
    into: Path,
    cloak: Cloak,
) -> tuple[Outcome, CloakedFile | None]:
    """One image: changed, judged as it is read again, and written where it is hidden."""
    try:
        content = read_bytes(source.path)
        picture = open_picture(content)
    except UnreadableImageError as error:
        return Outcome(source.path, "", "unreadable", str(error)), None
    most = float(np.abs(wanted - square).max())
    # Where the attack itself fails, no strength on the way up helps.
    fails = not _misread(np.rint(wanted).astype(np.uint8), labels, cloak.judge)
    for strength in STRENGTHS[:1] if fails else STRENGTHS:
        values = carry(picture, wanted, most * strength)
        cloaked = picture.write(values, "cloaked")
        if _misread(square_of(cloaked, cloak.image_size), labels, cloak.judge):
            state: State = "misread before" if _misread(square, labels, cloak.judge) else "hidden"
            break
    else:
        state = "not hidden"
    moved = (picture.shows(values) - picture.grey).astype(np.float64)
    outcome = Outcome(source.path, "", state, moved=float(np.abs(moved).max()), psnr=_psnr(moved))
    if state not in WRITTEN and not cloak.keep_unhidden:
        return outcome, None
    name = number + picture.form.suffix
    write_atomic(into / name, cloaked)
    original = picture.write(picture.values, "original")
    sealed = seal_original(original, cloak.key, cloak.folder, name) if cloak.key else None
    if sealed is not None:
        write_atomic(into / sealed_name(name), sealed)
    file = CloakedFile(name, sha256(cloaked), None if sealed is None else sha256(sealed), source.labels)
    return dataclasses.replace(outcome, name=name), file


def _psnr(moved: NDArray[np.float64]) -> float:
    """Of a change in grey levels: in dB, of 255 levels."""
    error = float(np.mean(moved**2))
    return 10 * math.log10(255.0**2 / error) if error else math.inf


def _misread(square: NDArray[np.uint8], labels: NDArray[np.bool_], judge: Judge) -> bool:
    """Whether the classifier reads other labels."""
    pixels = (square[None, ..., None] / np.float32(255)).astype(np.float32)
    return bool((judge.decisions(pixels)[0] != labels).any())
