"""The two architectures: their size, what they must not contain, and their weights as one vector."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedward.errors import UsageError
from fedward.learning.model import PREDICT_BATCH, Classifier, shared_classifier
from fedward.learning.quiet_tensorflow import keras
from fedward.learning.weight_shapes import ModelSpec

pytestmark = pytest.mark.slow

SMALL = ModelSpec("cnn", 16, 1)


def layers_of(network: Any) -> list[Any]:
    """All layers, also those inside nested models."""
    found = []
    for layer in network.layers:
        found += layers_of(layer) if isinstance(layer, keras.Model) else [layer]
    return found


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[np.ndarray]]]:
    """Keras's own DenseNet121, saved as a user would have it, and its weights by layer."""
    keras.utils.set_random_seed(5)
    original = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in original.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # scale, shift, and statistics that must not carry over
            layer.set_weights(
                [np.full_like(values, 0.1 * (index + 1)) for index, values in enumerate(layer.get_weights())]
            )
    path = tmp_path_factory.mktemp("weights") / "densenet.weights.h5"
    original.save_weights(path)
    return path, {layer.name: layer.get_weights() for layer in original.layers if layer.weights}


@pytest.fixture(scope="module")
def densenet(pretrained: tuple[Path, dict[str, list[np.ndarray]]]) -> Classifier:
    return Classifier(ModelSpec("densenet121", 32, 2), seed=0, weights_file=str(pretrained[0]))


@pytest.fixture(scope="module")
def cnn() -> Classifier:
    return Classifier(SMALL, seed=0)


@pytest.mark.parametrize(("image_size", "findings", "parameters"), [(64, 1, 97_521), (16, 1, 97_521), (64, 14, 99_198)])
def test_the_cnn_has_as_many_parameters_as_documented(image_size: int, findings: int, parameters: int) -> None:
    classifier = Classifier(ModelSpec("cnn", image_size, findings))
    assert classifier.parameters == parameters == 97_521 + 129 * (findings - 1)
    assert classifier.get_weights().shape == (parameters,)


@pytest.mark.parametrize("name", ["cnn", "densenet"])
def test_what_is_federated_has_no_batch_norm_and_no_hidden_state(name: str, request: pytest.FixtureRequest) -> None:
    network = request.getfixturevalue(name).network
    kinds = [type(layer).__name__ for layer in layers_of(network)]
    assert "BatchNormalization" not in kinds
    assert kinds.count("GroupNormalization") == (4 if name == "cnn" else 121)
    assert network.non_trainable_weights == []


@pytest.mark.parametrize("name", ["cnn", "densenet"])
def test_weights_go_in_and_come_out_bit_for_bit(name: str, request: pytest.FixtureRequest) -> None:
    classifier = request.getfixturevalue(name)
    before = classifier.get_weights()
    other = np.random.default_rng(1).normal(0, 0.1, classifier.parameters).astype(np.float32)
    classifier.set_weights(other)
    assert classifier.get_weights().tobytes() == other.tobytes()
    for wrong in (other[:-1], np.append(other, np.float32(0)), other[None]):
        with pytest.raises(UsageError, match="do not fit"):
            classifier.set_weights(wrong)
    assert classifier.get_weights().tobytes() == other.tobytes()
    classifier.set_weights(before)


@pytest.mark.parametrize("name", ["cnn", "densenet"])
def test_every_weight_matters_to_the_scores_shape(name: str, request: pytest.FixtureRequest) -> None:
    classifier = request.getfixturevalue(name)
    size, findings = classifier.spec.image_size, classifier.spec.findings
    pixels = np.random.default_rng(2).random((3, size, size, 1), dtype=np.float32)
    logits = classifier.logits(pixels)
    assert logits.shape == (3, findings)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    weights = classifier.get_weights()
    classifier.set_weights(weights + np.float32(0.01))
    assert not np.allclose(classifier.logits(pixels), logits)
    classifier.set_weights(weights)
    assert np.array_equal(classifier.logits(pixels), logits)


def test_one_images_score_does_not_depend_on_its_company(cnn: Classifier) -> None:
    """As it would with batch norm; also across the batches of a long prediction."""
    pixels = np.random.default_rng(3).random((PREDICT_BATCH + 3, 16, 16, 1), dtype=np.float32)
    together = cnn.logits(pixels)
    alone = np.concatenate([cnn.logits(pixels[index : index + 1]) for index in (0, PREDICT_BATCH, PREDICT_BATCH + 2)])
    np.testing.assert_allclose(together[[0, PREDICT_BATCH, PREDICT_BATCH + 2]], alone, atol=1e-5)
    assert cnn.logits(pixels[:0]).shape == (0, 1)


def test_initial_weights_follow_from_the_seed() -> None:
    first, again, other = (Classifier(SMALL, seed).get_weights() for seed in (4, 4, 5))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_one_classifier_is_shared_by_all_hospitals_of_a_process() -> None:
    assert shared_classifier(SMALL) is shared_classifier(ModelSpec("cnn", 16, 1))


def test_densenet_takes_kernels_scale_and_shift_and_no_statistics(
    densenet: Classifier, pretrained: tuple[Path, dict[str, list[np.ndarray]]]
) -> None:
    taken = {layer.name: layer.get_weights() for layer in layers_of(densenet.network) if layer.weights}
    for name, source in pretrained[1].items():
        expected = source[:2] if len(source) == 4 else source
        assert len(taken[name]) == len(expected), name
        for mine, theirs in zip(taken[name], expected, strict=True):
            assert np.array_equal(mine, theirs), name


def test_what_does_not_fit_an_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.h5").write_bytes(b"no weights")
    for spec, weights, words in (
        (SMALL, "some.h5", "random weights"),
        (ModelSpec("densenet121", 31, 1), "", "at least 32"),
        (ModelSpec("densenet121", 32, 1), str(tmp_path / "no-such.h5"), "missing"),
    ):
        with pytest.raises(UsageError, match=words):
            Classifier(spec, weights_file=weights)


def test_a_weights_file_of_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "bad.weights.h5"
    bad.write_bytes(b"no weights")

    def small_densenet(include_top: bool, weights: str, input_shape: tuple[int, ...]) -> None:
        """Keras's own would take seconds to build before it reads the file as this does."""
        keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1)]).load_weights(weights)

    monkeypatch.setattr(keras.applications, "DenseNet121", small_densenet)
    with pytest.raises(UsageError, match="does not hold weights"):
        Classifier(ModelSpec("densenet121", 32, 1), weights_file=str(bad))
