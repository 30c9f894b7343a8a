"""`model.keras` as it is stored: its card and its weights as arrays. No network is built, and nothing in it is run.

The file is one that Keras reads, with a member `fedward.json` in it, the card. It also describes its own network, for
Keras; that description is not read here, since whoever made the file could describe anything. The card names one of our
own architectures, whose arrays and shapes are known before the file is opened (`fedward.learning.weight_shapes`).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np

from fedward.archive import Archive
from fedward.checked_json import Part, Readable, checked_json
from fedward.errors import VerificationError
from fedward.learning.weight_shapes import ModelSpec, StoredArray, stored_arrays
from fedward.plugins import MODELS
from fedward.settings import Settings
from fedward.tables import Between
from fedward.types import Vector

CARD, WEIGHTS = "fedward.json", "model.weights.h5"
MEMBERS = {CARD, WEIGHTS, "config.json", "metadata.json"}
FORMAT_VERSION = 2  # 1 had one threshold for all findings, and is still read
MAX_CARD_BYTES = 1024**2
MAX_FINDINGS = 1000
MAX_MODEL_BYTES = 512 * 1024 * 1024  # DenseNet121 has 28 MB

_MOST_AROUND, _MOST_AROUND_ONE = 1024**2, 8 * 1024  # bytes in the file beside the numbers, and more for each array
_REMEDY = "Name a run folder or its model.keras."
# What HDF5 raises over foreign bytes.
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError)

Share = Annotated[float, Between(0, 1)]
Name = Annotated[str, Readable(100)]


class _KnownModel:
    """A rule: the name of one of our architectures."""

    def problem(self, value: str) -> str | None:
        """See `fedward.checked_json.Rule`."""
        return None if value in MODELS else f"must be {', '.join(MODELS)}"


class _SomeFindings:
    """A rule: at least one name, not too many, and each once."""

    def problem(self, value: tuple[str, ...]) -> str | None:
        """See `fedward.checked_json.Rule`."""
        fits = 0 < len(value) <= MAX_FINDINGS and len(set(value)) == len(value)
        return None if fits else f"must have 1 to {MAX_FINDINGS:,} names, each once"


Findings = Annotated[tuple[Name, ...], _SomeFindings()]
Size = Annotated[int, Between(16, 512)]


@dataclass(frozen=True)
class ModelCard:
    """What `evaluate` and `predict` must know of a model.

    Attributes:
        format_version: Version of the card's format.
        name: Architecture.
        findings: Names of the outputs.
        class_names: Names of the classes in the training data.
        image_size: Height and width of the input in pixels.
        thresholds: For each finding, the score from which on an image is called positive, in [0, 1].
        settings_digest: Of the settings that the model was trained under, hexadecimal.
        seed, val_share, test_share: The settings that decide which patients of the same data are in which split.
    """

    format_version: int
    name: Annotated[str, _KnownModel()]
    findings: Findings
    class_names: tuple[Name, ...]
    image_size: Size
    thresholds: tuple[Share, ...]
    settings_digest: Name
    seed: int
    val_share: float
    test_share: float

    @classmethod
    def of(
        cls, settings: Settings, findings: tuple[str, ...], class_names: tuple[str, ...], thresholds: Sequence[float]
    ) -> "ModelCard":
        """The card of a model that was trained under these settings."""
        return cls(
            format_version=FORMAT_VERSION,
            name=settings.model.name,
            findings=findings,
            class_names=class_names,
            image_size=settings.data.image_size,
            thresholds=tuple(thresholds),
            settings_digest=settings.digest().hex(),
            seed=settings.training.seed,
            val_share=settings.data.val_share,
            test_share=settings.data.test_share,
        )

    @property
    def spec(self) -> ModelSpec:
        """The model's shape."""
        return ModelSpec(self.name, self.image_size, len(self.findings))


@dataclass(frozen=True)
class _Version(Part):
    """The part of a card that says how the rest is to be read."""

    format_version: int


@dataclass(frozen=True)
class _FirstCard:
    """A card of format version 1, which had one threshold for all findings."""

    format_version: int
    name: Annotated[str, _KnownModel()]
    findings: Findings
    class_names: tuple[Name, ...]
    image_size: Size
    threshold: Share
    settings_digest: Name
    seed: int
    val_share: float
    test_share: float

    def card(self) -> ModelCard:
        """The same as a card of the present version."""
        return ModelCard(
            format_version=FORMAT_VERSION,
            name=self.name,
            findings=self.findings,
            class_names=self.class_names,
            image_size=self.image_size,
            thresholds=(self.threshold,) * len(self.findings),
            settings_digest=self.settings_digest,
            seed=self.seed,
            val_share=self.val_share,
            test_share=self.test_share,
        )


@dataclass(frozen=True)
class StoredModel:
    """What is in a model's file.

    Attributes:
        card: The card.
        weights: float32, shape (parameters,); as `fedward.learning.model.Classifier.get_weights` gives them.
        fixed: float32; what training does not change, one array behind the other.
    """

    card: ModelCard
    weights: Vector
    fixed: Vector


def read_card(path: Path) -> ModelCard:
    """Read a model's card.

    Raises:
        EvidenceError: there is no such file, or it has no card.
        VerificationError: it is damaged, no model of Fedward, or of another version.
    """
    with _opened(path) as archive:
        return _card(archive, path)


def read_model(path: Path) -> StoredModel:
    """Read a model's card and weights.

    Raises:
        EvidenceError: there is no such file, or it has no card or no weights.
        VerificationError: it is damaged, or not as Fedward saves the architecture that its card names.

    Guarantees:
        1. Memory stays below a few times `MAX_MODEL_BYTES`, and below a few times the size of the file.
    """
    with _opened(path) as archive:
        card = _card(archive, path)
        arrays = stored_arrays(card.spec)
        numbers = 4 * sum(array.size for array in arrays)
        most = numbers + _MOST_AROUND + _MOST_AROUND_ONE * len(arrays)
        if not numbers <= archive.size(WEIGHTS) <= min(most, MAX_MODEL_BYTES):
            raise VerificationError(
                f"The weights in {path} have {archive.size(WEIGHTS):,} bytes, which do not fit the {card.name} that "
                "its card names.",
                _REMEDY,
            )
        content = archive.read(WEIGHTS, most)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            found = [(array.trained, _array(file, array)) for array in arrays]
    except _DAMAGE as error:
        raise VerificationError(f"The weights in {path} cannot be read ({type(error).__name__}).", _REMEDY) from error
    weights, fixed = (_joined(values for trained, values in found if trained is kind) for kind in (True, False))
    return StoredModel(card, weights, fixed)


def _opened(path: Path) -> Archive:
    """The file as an archive of the members that a model has, and no others."""
    archive = Archive(path, len(MEMBERS), _REMEDY)
    strangers = set(archive.names()) - MEMBERS
    if strangers:
        archive.close()
        raise VerificationError(f"{path} has a member that no model has: {min(strangers)}.", _REMEDY)
    return archive


def _card(archive: Archive, path: Path) -> ModelCard:
    """The card, of whichever version."""
    content, what = archive.read(CARD, MAX_CARD_BYTES), f"The card of {path}"
    version = checked_json(_Version, content, what, VerificationError, _REMEDY).format_version
    if version == 1:
        return checked_json(_FirstCard, content, what, VerificationError, _REMEDY).card()
    if version != FORMAT_VERSION:
        raise VerificationError(
            f"{path} has format version {version}, this Fedward reads up to {FORMAT_VERSION}.",
            "Use the Fedward that wrote it.",
        )
    card = checked_json(ModelCard, content, what, VerificationError, _REMEDY)
    if len(card.thresholds) != len(card.findings):
        raise VerificationError(f"{what} is malformed: thresholds must be as many as findings.", _REMEDY)
    return card


def _array(file: Any, array: StoredArray) -> Vector:
    """One array, which has to lie in this file, uncompressed, in its shape."""
    stored = file
    for part in array.path.split("/"):
        if not isinstance(stored, h5py.Group) or not isinstance(stored.get(part, getlink=True), h5py.HardLink):
            raise TypeError("no plain group")
        stored = stored[part]
    plain = isinstance(stored, h5py.Dataset) and stored.dtype == np.dtype("<f4") and stored.shape == array.shape
    if not plain or stored.chunks is not None or stored.external or stored.is_virtual:
        raise ValueError("not the array that this architecture has there")
    return np.asarray(stored[()], np.float32).ravel()


def _joined(parts: Any) -> Vector:
    """Arrays one behind the other."""
    return np.concatenate([np.zeros(0, np.float32), *parts])
