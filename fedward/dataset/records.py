"""The values that pass between the steps of preprocessing; none of them leaves the hospital."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

LAYOUTS = (
    "folders of classes such as NORMAL/ and PNEUMONIA/ (alone or inside train/, val/, test/; JPEG, PNG, TIFF, DICOM "
    "and other images), the NIH layout (Data_Entry*.csv beside images/), a MedMNIST .npz file, or 'synthetic'"
)


@dataclass(frozen=True)
class Entry:
    """One image as its source lists it, before anything of it is read.

    Attributes:
        name: Path inside the source, or a made-up name; shown in the report for unreadable files only.
        classes: Names of the classes or findings that the image shows; empty for "none".
        patient: The source's own patient id; "" where it has none.
        split: The split that the source put it into; None where the source has no splits.
        path: The file; None where the source keeps all pixels in one array.
        columns: What else the source says of the image, by column name (the NIH csv).
    """

    name: str
    classes: tuple[str, ...]
    patient: str
    split: Split | None
    path: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """All images of a source, in a stable order (by name), before anything of them is read.

    Attributes:
        layout: Which layout was recognized, in words.
        entries: The images.
        classes: Names of all classes or findings, in the order of the model's outputs.
        negative: The class that means "no finding"; "" where none has a name for that.
        exclusive: Whether each image is of exactly one class (folders), not of any number of findings (NIH).
        pixels: Raw pixels where the source is one array: shape (n, height, width[, 3]); else None.
        skipped: How many files were left out unread, by reason.
        dropped: How many fields of the listing itself are not passed on, by kind.
    """

    layout: str
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    negative: str
    exclusive: bool
    pixels: NDArray[np.generic] | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the source brings, none if it has no such thing."""
        present = {entry.split for entry in self.entries}
        return tuple(split for split in SPLITS if split in present)


@dataclass(frozen=True)
class Unreadable:
    """A file that gave no image, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class ImageTable:
    """The readable images, row by row beside what is known of them.

    Attributes:
        entries: One a row; the patient id is final here (DICOM headers have been read).
        images: uint8, shape (n, image_size, image_size).
        digests: uint8, shape (n, 32); SHA-256 of each image's grey pixels at full size.
        unreadable: Files left out because they could not be read.
        not_images: Files left out because they neither are images nor claim to be.
        dropped: How many fields were read past and not passed on, by kind.
        burned_in: Number of DICOM files that say themselves that text is burned into their pixels.
    """

    entries: tuple[Entry, ...]
    images: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    unreadable: tuple[Unreadable, ...]
    not_images: tuple[str, ...]
    dropped: Mapping[str, int]
    burned_in: int

    def __len__(self) -> int:
        return len(self.entries)

    def take(self, rows: NDArray[np.intp]) -> "ImageTable":
        """The same table with only some rows."""
        return ImageTable(
            entries=tuple(self.entries[row] for row in rows),
            images=self.images[rows],
            digests=self.digests[rows],
            unreadable=self.unreadable,
            not_images=self.not_images,
            dropped=self.dropped,
            burned_in=self.burned_in,
        )
