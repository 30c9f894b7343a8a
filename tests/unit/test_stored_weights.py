"""Weights are read out of a saved model without building a network; foreign bytes are refused."""

import contextlib
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fedward.checked_json import to_json
from fedward.errors import EvidenceError, VerificationError
from fedward.learning.model import Classifier, save_network
from fedward.learning.model_file import save_model
from fedward.learning.stored_model import CARD, WEIGHTS, ModelCard, read_card, read_model
from fedward.learning.weight_shapes import ModelSpec, stored_arrays
from fedward.plugins import MODELS

pytestmark = pytest.mark.slow


def card_of(spec: ModelSpec, **other: Any) -> dict[str, Any]:
    names = [f"finding {number}" for number in range(spec.findings)]
    thresholds = [0.5] * spec.findings
    card = ModelCard(2, spec.name, tuple(names), ("no", "yes"), spec.image_size, tuple(thresholds), "ab", 1, 0.1, 0.1)
    return to_json(card) | other


def saved(path: Path, spec: ModelSpec) -> Classifier:
    classifier = Classifier(spec, seed=3)
    weights = np.random.default_rng(1).normal(size=classifier.parameters).astype(np.float32)
    classifier.set_weights(weights)
    save_network(classifier, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(CARD, json.dumps(card_of(spec)))
    return classifier


@pytest.mark.parametrize("findings", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_the_weights_of_every_architecture_are_read_in_the_networks_own_order(
    name: str, findings: int, tmp_path: Path
) -> None:
    size = 32 if name == "densenet121" else 21
    classifier = saved(tmp_path / "model.keras", ModelSpec(name, size, findings))
    found = read_model(tmp_path / "model.keras")
    assert found.weights.tobytes() == classifier.get_weights().tobytes()
    fixed = [np.asarray(each).ravel() for each in classifier.network.non_trainable_weights]
    assert found.fixed.tobytes() == b"".join(each.tobytes() for each in fixed)
    assert found.card.spec == classifier.spec


@pytest.mark.parametrize(("name", "size"), [("cnn", 16), ("cnn", 64), ("scatter", 16), ("scatter", 33)])
def test_shapes_are_those_that_keras_builds(name: str, size: int) -> None:
    spec = ModelSpec(name, size, 3)
    network = Classifier(spec).network
    for trained, theirs in ((True, network.trainable_weights), (False, network.non_trainable_weights)):
        assert [each.shape for each in stored_arrays(spec) if each.trained is trained] == [
            tuple(each.shape) for each in theirs
        ]


# ---- foreign files --------------------------------------------------------------------------------------------------

SPEC = ModelSpec("cnn", 16, 1)
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    saved(path, SPEC)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(autouse=True)
def raised_recursion_limit() -> Iterator[None]:
    """As the packages for Ethereum raise it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(before)


def archive(path: Path, content: Members, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, each in content.items():
            file.writestr(name, each)
    return path


def with_card(**other: Any) -> Callable[[Members], Members]:
    return lambda members: members | {CARD: json.dumps(card_of(SPEC) | other).encode()}


def with_weights(change: Callable[[h5py.File], object]) -> Callable[[Members], Members]:
    """The file of weights, changed."""

    def changed(members: Members) -> Members:
        buffer = io.BytesIO(members[WEIGHTS])
        with h5py.File(buffer, "r+") as file:
            change(file)
        return members | {WEIGHTS: buffer.getvalue()}

    return changed


KERNEL = "layers/dense/vars/0"  # of shape (128, 1)


def put(name: str, **how: Any) -> Callable[[h5py.File], None]:
    """Another data set in the place of one."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **how)

    return change


def linked(name: str, link: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


def virtual(file: h5py.File) -> None:
    del file[KERNEL]
    layout = h5py.VirtualLayout((128, 1), "<f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (128, 1))
    file.create_virtual_dataset(KERNEL, layout)


def in_circles(file: h5py.File) -> None:
    del file["layers/dense/vars"]
    file["layers/dense/vars"] = file["layers"]


FOREIGN: dict[str, Callable[[Members], Members]] = {
    "brackets for a card": lambda members: members | {CARD: b"[" * 1_000_000},
    "brackets in the card": lambda members: members | {CARD: b'{"format_version": 2, "x":' * 40_000},
    "a long card": lambda members: members | {CARD: members[CARD] + b" " * 2_000_000},
    "no card": lambda members: {name: each for name, each in members.items() if name != CARD},
    "no weights": lambda members: {name: each for name, each in members.items() if name != WEIGHTS},
    "an unknown architecture": with_card(name="resnet"),
    "another architecture": with_card(name="densenet121", image_size=32),
    "a huge image": with_card(image_size=10**9),
    "a negative image": with_card(image_size=-16),
    "a million findings": with_card(findings=[str(n) for n in range(10**6)], thresholds=[0.5] * 10**6),
    "no finding": with_card(findings=[], thresholds=[]),
    "more findings than weights": with_card(findings=["a", "b"], thresholds=[0.5, 0.5]),
    "two findings of one name": with_card(findings=["a", "a"], thresholds=[0.5, 0.5]),
    "a finding that turns the text": with_card(findings=["\u202egnp.exe"]),
    "a class that clears the screen": with_card(class_names=["\x1b[2J", "b"]),
    "an extra member": lambda members: members | {"assets": b"x"},
    "a member out of the folder": lambda members: members | {"../x": b"x"},
    "weights of another size": with_weights(put(KERNEL, shape=(127, 1), dtype="<f4")),
    "an endless array": with_weights(put(KERNEL, shape=(2**40, 1), dtype="<f4")),
    "weights of other numbers": with_weights(put(KERNEL, shape=(128, 1), dtype="<f8")),
    "weights of texts": with_weights(put(KERNEL, shape=(128, 1), dtype=h5py.string_dtype())),
    "compressed weights": with_weights(put(KERNEL, shape=(128, 1), dtype="<f4", compression="gzip", chunks=(128, 1))),
    "weights in another file": with_weights(put(KERNEL, shape=(128, 1), dtype="<f4", external=[("/x", 0, 512)])),
    "a link to another file": with_weights(linked(KERNEL, h5py.ExternalLink("/etc/passwd", "x"))),
    "a soft link": with_weights(linked(KERNEL, h5py.SoftLink("/layers/dense/vars/1"))),
    "a soft link to itself": with_weights(linked(KERNEL, h5py.SoftLink(f"/{KERNEL}"))),
    "a virtual array": with_weights(virtual),
    "a group in circles": with_weights(in_circles),
    "a group for an array": with_weights(lambda file: (file.__delitem__(KERNEL), file.create_group(KERNEL))),
    "an array for a group": with_weights(put("layers/dense", shape=(128, 1), dtype="<f4")),
    "an absent array": with_weights(lambda file: file.__delitem__(KERNEL)),
    "weights cut short": lambda members: members | {WEIGHTS: members[WEIGHTS][:-200_000]},
    "weights of junk": lambda members: members | {WEIGHTS: b"\x89HDF\r\n\x1a\n" + bytes(len(members[WEIGHTS]))},
    "endless weights": lambda members: members | {WEIGHTS: members[WEIGHTS] + bytes(4_000_000)},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused(name: str, members: Members, tmp_path: Path) -> None:
    path = archive(tmp_path / "model.keras", FOREIGN[name](members))
    with pytest.raises((EvidenceError, VerificationError), match=r"model\.keras") as refused:
        read_model(path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["a card", "weights"])
def test_what_unpacks_to_gigabytes_is_refused(name: str, members: Members, tmp_path: Path) -> None:
    endless = bytes(1024**2) * (200 if name == "weights" else 20)
    bomb = {CARD: b'"' + endless} if name == "a card" else {WEIGHTS: members[WEIGHTS] + endless}
    path = archive(tmp_path / "model.keras", members | bomb, zipfile.ZIP_DEFLATED)
    for read in (read_card, read_model):
        with pytest.raises(VerificationError, match="a compressed, encrypted or streamed member"):
            read(path)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with pytest.raises(EvidenceError):
        read_model(path)
    for content in (b"", b"junk", bytes(1000)):
        path.write_bytes(content)
        with pytest.raises((EvidenceError, VerificationError)):
            read_model(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(EvidenceError):
        read_model(path)


def test_the_files_own_graph_is_not_read(members: Members, tmp_path: Path) -> None:
    """Whatever it says: weights are those of the architecture that the card names."""
    expected = read_model(archive(tmp_path / "a.keras", members)).weights
    for graph in (b"", b"[" * 100_000, b'{"config": {"layers": [{"class_name": "Lambda"}]}}'):
        path = archive(tmp_path / "b.keras", members | {"config.json": graph})
        assert read_model(path).weights.tobytes() == expected.tobytes()


def test_damaged_weights_are_refused_or_numbers(members: Members, tmp_path: Path) -> None:
    """Around the numbers, one bit at a time: HDF5 refuses it, or the arrays have their shapes all the same."""
    rng, size = np.random.default_rng(8), sum(each.size for each in stored_arrays(SPEC))
    for place in rng.integers(0, len(members[WEIGHTS]), 300):
        content = bytearray(members[WEIGHTS])
        content[place] ^= 1 << int(rng.integers(8))
        path = archive(tmp_path / "model.keras", members | {WEIGHTS: bytes(content)})
        with contextlib.suppress(VerificationError):
            assert read_model(path).weights.shape == (size,)


def test_a_models_own_file_has_the_members_that_are_read(tmp_path: Path) -> None:
    save_model(tmp_path / "model.keras", Classifier(SPEC), read_card_of(SPEC))
    assert read_model(tmp_path / "model.keras").card == read_card_of(SPEC)


def read_card_of(spec: ModelSpec) -> ModelCard:
    fields = card_of(spec)
    return ModelCard(**{name: tuple(each) if isinstance(each, list) else each for name, each in fields.items()})
