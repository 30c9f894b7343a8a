"""`model.keras`: a Keras file with one more zip member that says how to read images for it."""

import json
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedward.errors import DataError
from fedward.files import PART, parse_json, writing
from fedward.learning.model import Classifier, ModelSpec, load_network, network_logits, save_network
from fedward.types import Vector

CARD = "fedward.json"
FORMAT_VERSION = 2  # 1 had one threshold for all findings, and is still read
# What zipfile, JSON, HDF5 and Keras raise over a file that is not what it should be.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True)
class ModelCard:
    """What `evaluate` and `predict` must know of a model.

    Attributes:
        format_version: Of this card.
        name: Architecture.
        findings: Names of the outputs.
        class_names: Names of the classes in the training data.
        image_size: Height and width of the input in pixels.
        thresholds: Of each finding the score from which on an image is called positive, in [0, 1].
        settings_digest: Of the settings that it was trained under, hexadecimal.
        seed, val_share, test_share: What an own split of the same data follows from.
    """

    format_version: int
    name: str
    findings: tuple[str, ...]
    class_names: tuple[str, ...]
    image_size: int
    thresholds: tuple[float, ...]
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
            archive.writestr(CARD, json.dumps(asdict(card), indent=2))


def load_card(path: Path) -> ModelCard:
    """Read a model's card.

    Raises:
        DataError: the file is missing, damaged, or not one of ours.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            values = parse_json(archive.read(CARD))
        version = values["format_version"]
        card = _card(values, version) if version in (1, FORMAT_VERSION) else None
    except _DAMAGE as error:
        raise DataError(
            f"{path} is missing, damaged or no model of Fedward.", "Name a run folder or its model.keras."
        ) from error
    if card is None:
        raise DataError(
            f"{path} has format version {version!s:.20}, this Fedward reads up to {FORMAT_VERSION}.",
            "Use the Fedward that wrote it.",
        )
    return card


def _card(values: dict[str, Any], version: int) -> ModelCard:
    """A card of the present version from one of this or the first.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    values = dict(values)
    findings = tuple(values.pop("findings"))
    found = [values.pop("threshold")] * len(findings) if version == 1 else values.pop("thresholds")
    thresholds = tuple(float(threshold) for threshold in found)
    if len(thresholds) != len(findings) or not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ValueError("Each finding has one threshold, between 0 and 1.")
    names, _ = tuple(values.pop("class_names")), values.pop("format_version")
    return ModelCard(
        format_version=FORMAT_VERSION, findings=findings, class_names=names, thresholds=thresholds, **values
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
