"""Read and write `model.keras`: a Keras file with a model card inside (findings, image size, decision thresholds)."""

import json
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fedward.checked_json import Part, checked_json, to_json
from fedward.errors import DataError
from fedward.files import PART, writing
from fedward.learning.model import Classifier, ModelSpec, load_network, network_logits, save_network
from fedward.tables import Between
from fedward.types import Vector

CARD = "fedward.json"
FORMAT_VERSION = 2  # 1 had one threshold for all findings, and is still read
MAX_CARD_BYTES = 1024**2

Share = Annotated[float, Between(0, 1)]
_NAME = "Name a run folder or its model.keras."
# What zipfile, HDF5 and Keras raise over a file that is not what it should be.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile)


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
    name: str
    findings: tuple[str, ...]
    class_names: tuple[str, ...]
    image_size: int
    thresholds: tuple[Share, ...]
    settings_digest: str
    seed: int
    val_share: float
    test_share: float

    @property
    def spec(self) -> ModelSpec:
        """The model's shape."""
        return ModelSpec(self.name, self.image_size, len(self.findings))


def save_model(path: Path, classifier: Classifier, card: ModelCard) -> None:
    """Write network and card; the file is whole or not there.

    Raises:
        ResourceError: the file cannot be written.
    """
    with writing(path) as file:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".", suffix=PART) as scratch:
            network = Path(scratch) / "network.keras"  # Keras insists on a path with this ending
            save_network(classifier, network)
            with network.open("rb") as saved:
                shutil.copyfileobj(saved, file)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(CARD, json.dumps(to_json(card), indent=2))


def load_card(path: Path) -> ModelCard:
    """Read a model's card.

    Raises:
        DataError: the file is missing, damaged, or not one of ours.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(CARD) as member:
            content = member.read(MAX_CARD_BYTES)
    except _DAMAGE as error:
        raise DataError(f"{path} is missing, damaged or no model of Fedward.", _NAME) from error
    what = f"The card of {path}"
    version = checked_json(_Version, content, what, DataError, _NAME).format_version
    if version == 1:
        return checked_json(_FirstCard, content, what, DataError, _NAME).card()
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {version}, this Fedward reads up to {FORMAT_VERSION}.",
            "Use the Fedward that wrote it.",
        )
    card = checked_json(ModelCard, content, what, DataError, _NAME)
    if len(card.thresholds) != len(card.findings):
        raise DataError(f"{what} is malformed: thresholds must be as many as findings.", _NAME)
    return card


@dataclass(frozen=True)
class _Version(Part):
    """The part of a card that says how the rest is to be read."""

    format_version: int


@dataclass(frozen=True)
class _FirstCard:
    """A card of format version 1, which had one threshold for all findings."""

    format_version: int
    name: str
    findings: tuple[str, ...]
    class_names: tuple[str, ...]
    image_size: int
    threshold: Share
    settings_digest: str
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


def load_logits(path: Path, pixels: Vector) -> Vector:
    """Logits of a saved model.

    Args:
        path: A model file.
        pixels: float32, shape (n, height, width, 1), values in [0, 1].

    Raises:
        DataError: the file is damaged or does not take such images.
    """
    try:
        return network_logits(load_network(path), pixels)
    except (*_DAMAGE, AttributeError, UserWarning) as error:
        raise DataError(f"{path} is damaged or does not take these images: {error}.", "Train it anew.") from error
