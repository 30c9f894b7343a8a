"""The values that pass between the steps of preprocessing; none of them leaves the hospital."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
        columns: What else the source says of the image, by column name.
        patient_by: How the patient is known.
        header_patient: PatientID of a DICOM file, "" where it has none; not yet believed.
        uncertain: Findings of which the source itself says that it is not sure.
    """

    name: str
    classes: tuple[str, ...]
    patient: str
    split: Split | None
    path: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    patient_by: str = ""
    header_patient: str = ""
    uncertain: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """All images of a source, in a stable order (by name), before anything of them is read.

    Attributes:
        layout: Which layout was recognized, in words.
        entries: The images.
        classes: Names of all classes or findings, in the order of the model's outputs.
        negative: The class that means "no finding"; "" where none has a name for that.
        exclusive: Whether each image is of exactly one class (folders), not of any number of findings (NIH).
        pixels: Where the source is one array: uint8, or float32 in [0, 255]; shape (n, height, width[, 3]); else None.
        left_out: Files and folders that were left out unread, each with the reason.
        dropped: How many fields of the listing itself are not passed on, by kind.
        no_findings: Classes that may be asked for by name, and are no finding for "any" (support devices).
        note: What else the reader should know, a sentence; "" for nothing.
    """

    layout: str
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    negative: str
    exclusive: bool
    pixels: NDArray[np.generic] | None = None
    left_out: "tuple[LeftOut, ...]" = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    no_findings: frozenset[str] = frozenset()
    note: str = ""

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the source brings, none if it has no such thing."""
        present = {entry.split for entry in self.entries}
        return tuple(split for split in SPLITS if split in present)


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not used, or not all of it, and why."""

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
        partly: Images of which something was not used: further frames, windows that are no numbers.
        dropped: How many fields were read past and not passed on, by kind.
        burned_in: Number of DICOM files that say themselves that text is burned into their pixels.
    """

    entries: tuple[Entry, ...]
    images: NDArray[np.uint8]
    digests: NDArray[np.uint8]
    unreadable: tuple[LeftOut, ...]
    not_images: tuple[LeftOut, ...]
    dropped: Mapping[str, int]
    burned_in: int
    partly: tuple[LeftOut, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def take(self, rows: NDArray[np.intp]) -> "ImageTable":
        """The same table with only some rows."""
        return replace(
            self,
            entries=tuple(self.entries[row] for row in rows),
            images=self.images[rows],
            digests=self.digests[rows],
        )
