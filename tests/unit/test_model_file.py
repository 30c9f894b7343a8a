"""`model.keras`: the same scores after as before, a card that comes back, and nothing run from a stranger's file."""

import contextlib
import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fedward.errors import DataError, ResourceError
from fedward.learning import model_file
from fedward.learning.model import Classifier
from fedward.learning.model_file import load_card, load_logits, save_model
from fedward.learning.quiet_tensorflow import keras
from fedward.learning.stored_model import CARD, FORMAT_VERSION, ModelCard, read_model
from fedward.learning.weight_shapes import ModelSpec

pytestmark = pytest.mark.slow

CARD_VALUES = ModelCard(
    format_version=FORMAT_VERSION,
    name="cnn",
    findings=("Effusion", "Mass"),
    class_names=("none", "Effusion", "Mass"),
    image_size=16,
    thresholds=(0.372, 0.05),
    settings_digest="ab" * 32,
    seed=1,
    val_share=0.15,
    test_share=0.1,
)
PIXELS = np.random.default_rng(0).random((5, 16, 16, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(CARD_VALUES.spec, seed=3)


@pytest.fixture(scope="module")
def saved(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_model(path, classifier, CARD_VALUES)
    return path


def with_card(path: Path, source: Path, content: bytes | None) -> Path:
    """A copy of a model file with another card, or none."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name != CARD:
                new.writestr(name, old.read(name))
        if content is not None:
            new.writestr(CARD, content)
    return path


def test_the_card_comes_back_and_names_the_models_shape(saved: Path) -> None:
    assert load_card(saved) == CARD_VALUES
    assert load_card(saved).spec == ModelSpec("cnn", 16, 2)


def test_scores_are_the_same_after_as_before(classifier: Classifier, saved: Path) -> None:
    assert load_logits(saved, PIXELS).tobytes() == classifier.logits(PIXELS).tobytes()
    assert read_model(saved).weights.tobytes() == classifier.get_weights().tobytes()


def test_the_file_is_one_that_keras_reads_by_itself(saved: Path) -> None:
    assert keras.saving.load_model(saved, compile=False).input_shape == (None, 16, 16, 1)
    assert [path.name for path in saved.parent.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b"5",
        b"null",
        b"\xff",
        json.dumps(dataclasses.asdict(CARD_VALUES) | {"more": 1}).encode(),
        json.dumps({key: value for key, value in dataclasses.asdict(CARD_VALUES).items() if key != "seed"}).encode(),
        json.dumps(dataclasses.asdict(CARD_VALUES) | {"findings": 3}).encode(),
        *(
            json.dumps(dataclasses.asdict(CARD_VALUES) | {"thresholds": thresholds}).encode()
            for thresholds in (0.5, [], [0.5], [0.5] * 3, [0.5, -0.1], [0.5, 1.1], [0.5, None], [0.5, "x"], [0.5, [0]])
        ),
        json.dumps(dataclasses.asdict(CARD_VALUES) | {"format_version": 1}).encode(),
        json.dumps(dataclasses.asdict(CARD_VALUES) | {"threshold": 0.5}).encode(),
    ],
)
def test_a_file_without_a_proper_card_is_none_of_ours(saved: Path, tmp_path: Path, content: bytes | None) -> None:
    with pytest.raises(DataError, match=r"has no fedward.json|The card of .* is (malformed: |no JSON)") as refused:
        load_card(with_card(tmp_path / "model.keras", saved, content))
    assert refused.value.exit_code == 3


def test_another_format_version_says_so(saved: Path, tmp_path: Path) -> None:
    another, none = r"has format version .*, this Fedward reads up to 2", "format_version must be a whole number"
    for version, words in ((0, another), (3, another), ("2", none), ([2], none)):
        card = json.dumps({"format_version": version, "what": "nobody knows yet"}).encode()
        with pytest.raises(DataError, match=words):
            load_card(with_card(tmp_path / "model.keras", saved, card))


@pytest.mark.parametrize("findings", [("Mass",), ("Effusion", "Mass")])
def test_a_card_of_version_1_is_read_its_one_threshold_for_every_finding(
    saved: Path, tmp_path: Path, findings: tuple[str, ...]
) -> None:
    now = dataclasses.replace(CARD_VALUES, findings=findings, thresholds=(0.372,) * len(findings))
    then = {key: value for key, value in dataclasses.asdict(now).items() if key != "thresholds"}
    old = json.dumps(then | {"format_version": 1, "threshold": 0.372}).encode()
    assert load_card(with_card(tmp_path / "model.keras", saved, old)) == now
    for wrong in (None, 1.5, [0.372], "x"):
        old = json.dumps(then | {"format_version": 1, "threshold": wrong}).encode()
        with pytest.raises(DataError, match=r"The card of .* is malformed: threshold must be"):
            load_card(with_card(tmp_path / "model.keras", saved, old))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all" * 99])
def test_a_file_that_is_no_model_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    for read in (load_card, lambda path: load_logits(path, PIXELS)):
        with pytest.raises(DataError):
            read(path)
    with pytest.raises(DataError):
        load_card(tmp_path / "no-such.keras")
    with pytest.raises(DataError):
        load_card(tmp_path)


def test_a_damaged_file_is_a_data_error_wherever_the_damage_is(saved: Path, tmp_path: Path) -> None:
    whole, rng = saved.read_bytes(), np.random.default_rng(7)
    path = tmp_path / "model.keras"
    for place in rng.integers(0, len(whole), 400):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            card = load_card(path)
        except DataError:
            continue
        assert card == CARD_VALUES  # the zip's checksum covers the card
    directory = whole.rfind(b"PK\x01\x02")
    for place in range(directory, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            load_card(path)


def test_damaged_weights_or_configuration_are_a_data_error(saved: Path, tmp_path: Path) -> None:
    path, rng = tmp_path / "model.keras", np.random.default_rng(8)
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def damaged(name: str, content: bytes) -> Path:
        with zipfile.ZipFile(path, "w") as archive:
            for other, kept in members.items():
                archive.writestr(other, content if other == name else kept)
        return path

    for name in ("model.weights.h5",):
        for cut in (0, len(members[name]) // 2):
            with pytest.raises(DataError):
                load_logits(damaged(name, members[name][:cut]), PIXELS)
        for place in rng.integers(0, min(len(members[name]), 4_000), 20):
            content = bytearray(members[name])
            content[place] ^= 1 << int(rng.integers(8))
            with contextlib.suppress(DataError):
                load_logits(damaged(name, bytes(content)), PIXELS)


def test_images_of_another_size_are_a_data_error(saved: Path) -> None:
    for shape in ((2, 16, 16, 3), (2, 32, 32, 1)):
        with pytest.raises(DataError, match="takes images of 16 by 16 pixels"):
            load_logits(saved, np.zeros(shape, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_a_data_error(value: float, tmp_path: Path) -> None:
    other = Classifier(CARD_VALUES.spec, seed=4)
    weights = other.get_weights()
    weights[7] = value
    other.set_weights(weights)
    save_model(tmp_path / "model.keras", other, CARD_VALUES)
    with pytest.raises(DataError, match="not all finite"):
        load_logits(tmp_path / "model.keras", PIXELS)


def test_code_inside_a_strangers_file_is_not_run(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker, evil, path = tmp_path / "it ran", tmp_path / "evil.keras", tmp_path / "model.keras"
    monkeypatch.setenv("FEDWARD_TEST_MARKER", str(marker))
    inputs = keras.Input((16, 16, 1))
    body = keras.layers.Lambda(
        lambda x: (open(__import__("os").environ["FEDWARD_TEST_MARKER"], "w").close(), x)[1]  # noqa: PTH123
    )
    keras.Model(inputs, body(inputs)).save(evil)
    assert marker.exists(), "building the trap springs it once"
    marker.unlink()
    with zipfile.ZipFile(evil) as theirs, zipfile.ZipFile(saved) as ours, zipfile.ZipFile(path, "w") as mixed:
        for name in ours.namelist():
            mixed.writestr(name, (theirs if name == "config.json" else ours).read(name))
    assert load_logits(path, PIXELS).tobytes() == load_logits(saved, PIXELS).tobytes()
    assert not marker.exists()


def test_a_failed_save_leaves_the_old_model_and_nothing_else(
    classifier: Classifier, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(saved.read_bytes())

    def fail(_classifier: Classifier, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_file, "save_network", fail)
    with pytest.raises(ResourceError, match="No space left"):
        save_model(path, classifier, CARD_VALUES)
    assert path.read_bytes() == saved.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]
