"""Weights are read out of a saved model without building a network; foreign bytes are refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from blockchain.audit.sources.stored_weights import stored_weights
from fedward.errors import EvidenceError, VerificationError
from fedward.learning.model import Classifier, ModelSpec, save_network
from fedward.plugins import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_of_every_architecture_are_read_in_the_networks_own_order(name: str, tmp_path: Path) -> None:
    classifier = Classifier(ModelSpec(name, 32, 2), seed=3)
    weights = np.random.default_rng(1).normal(size=classifier.parameters).astype(np.float32)
    classifier.set_weights(weights)
    save_network(classifier, tmp_path / "network.keras")
    assert stored_weights(tmp_path / "network.keras").tobytes() == weights.tobytes()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with pytest.raises(EvidenceError):
        stored_weights(path)
    for content in (b"", b"junk", bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(VerificationError):
            stored_weights(path)
    for graph in (
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"config": {"layers": [{"class_name": "Dense", "module": "keras.x"}]}}',
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", graph)
            archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(500))
        with pytest.raises(VerificationError):
            stored_weights(path)
