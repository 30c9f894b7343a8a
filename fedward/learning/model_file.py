"""Write and use `model.keras`: a Keras file with a model card inside (findings, image size, decision thresholds)."""

import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from fedward.checked_json import to_json
from fedward.errors import DataError, EvidenceError, UsageError, VerificationError
from fedward.files import PART, writing
from fedward.learning.model import Classifier, save_network
from fedward.learning.stored_model import CARD, ModelCard, StoredModel, read_card, read_model
from fedward.types import Vector


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
        return read_card(path)
    except (EvidenceError, VerificationError) as error:
        raise DataError(error.what, error.remedy) from error


def load_logits(path: Path, pixels: Vector) -> Vector:
    """Logits of a saved model: of our own network of the architecture that its card names, with the file's weights.

    Args:
        path: A model file.
        pixels: float32, shape (n, height, width, 1), values in [0, 1].

    Raises:
        DataError: the file is damaged or does not take such images.

    Guarantees:
        1. Nothing that the file says of its network is built or run: only its weights are read.
    """
    classifier, card = load_classifier(path)
    size = card.image_size
    if pixels.shape[1:] != (size, size, 1):
        raise DataError(f"{path} takes images of {size} by {size} pixels, not these.", "Choose another model.")
    return classifier.whole_logits(pixels)


def load_classifier(path: Path) -> tuple[Classifier, ModelCard]:
    """A saved model as our own network of the architecture that its card names, with the file's weights; and the card.

    Raises:
        DataError: the file is missing or damaged.

    Guarantees:
        1. That of `load_logits`.
    """
    try:
        stored = read_model(path)
        return _classifier(path, stored), stored.card
    except (EvidenceError, VerificationError, UsageError) as error:
        raise DataError(error.what, error.remedy) from error


def _classifier(path: Path, stored: StoredModel) -> Classifier:
    """A network of our own making with a file's weights."""
    if not (np.isfinite(stored.weights).all() and np.isfinite(stored.fixed).all()):
        raise VerificationError(f"The weights in {path} are not all finite numbers.", "Train the model anew.")
    classifier = Classifier(stored.card.spec)
    classifier.set_weights(stored.weights)
    classifier.set_fixed(stored.fixed)
    return classifier
