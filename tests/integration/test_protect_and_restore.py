"""`main.py protect` and `main.py restore` from end to end, with a real classifier, attack and reader."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from command_line import run_here
from sample_images import CR, dicom, encoded, picture, write

from blockchain.identity import Identity
from data_preprocessing import save_partition
from fedward import settings as setting
from fedward.dataset.dicom import stored_values
from fedward.dataset.reading import decode
from fedward.learning.model import Classifier
from fedward.learning.model_file import load_classifier, load_logits, save_model
from fedward.learning.stored_model import ModelCard
from fedward.learning.training import train
from fedward.types import GlobalModel, HospitalId, ImageSet, Partition

SIZE = 32
NAMES = ("hospital-1", "hospital-2")
LARGE = 3  # times the model's side: what images have
Told = dict[str, Any]


def drawn(seed: int, count: int) -> ImageSet:
    """Smooth pictures without (0) and with (1) faint stripes: learned within seconds."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIZE, :SIZE]
    labels = np.arange(count) % 2
    images = []
    for number, label in enumerate(labels):
        stripes = 25 * label * np.sin(2 * np.pi * (row + 0.3 * column) / 5 + rng.uniform(0, 6))
        images.append(np.clip(picture(1000 * seed + number, SIZE, SIZE) * 0.6 + 50 + stripes, 0, 255).astype(np.uint8))
    patients = np.array([f"{number:016x}" for number in range(count)])
    return ImageSet(np.stack(images), labels[:, None].astype(np.float32), patients)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, two hospitals with their images and keys, and test images as files in folders of classes."""
    root = tmp_path_factory.mktemp("study")
    class_names, findings = ("PLAIN", "STRIPED"), ("STRIPED",)
    settings = setting.load(
        None,
        ("data.image-size", SIZE),
        ("training.local-epochs", 10),
        ("training.batch-size", 16),
        ("training.learning-rate", 0.003),
    )
    partitions = [
        Partition(HospitalId(name), findings, drawn(seed, 160), drawn(seed + 10, 40), drawn(seed + 20, 10))
        for seed, name in enumerate(NAMES)
    ]
    for name, partition in zip(NAMES, partitions, strict=True):
        folder = root / "hospitals" / name
        Identity.create(folder / "identity")
        save_partition(folder / "partition.npz", partition)
    card = ModelCard.of(settings, findings, class_names, (0.5,))
    classifier = Classifier(card.spec, 1)
    start = GlobalModel(classifier.get_weights(), b"")
    update = train(partitions[0], start, classifier, settings.training, 1)
    assert update.loss < 0.3
    save_model(root / "model.keras", classifier, card)
    tested = ImageSet.joined([partition.test for partition in partitions])
    for number, (image, label) in enumerate(zip(tested.images, tested.labels[:, 0], strict=True)):
        pixels = np.kron(image, np.ones((LARGE, LARGE), np.uint8))
        folder = root / "images" / class_names[int(label)]
        if number % 2:
            values = (pixels.astype(np.uint16) << 4).astype(np.uint16)
            content = dicom(values, CR, BitsStored=12, HighBit=11, PatientID=f"MRN-{number}", PatientName="Doe^Jane")
            write(folder / f"MRN-{number}.dcm", content)
        else:
            write(folder / f"MRN-{number}.png", encoded(pixels))
    return root


def protected(study: Path, out: Path, *options: str) -> tuple[int, Told, str]:
    done = run_here(
        *("protect", study / "images", "--model", study / "model.keras", "--hospital", study / "hospitals" / NAMES[0]),
        *("--to", study / "hospitals" / NAMES[1], "--out", out, "--method", "pgd", "--eps", "0.1", "--json", *options),
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def lossless(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, Told]:
    """A folder with originals beside, to be copied before it is changed; the exit code, and what was told of it."""
    out = tmp_path_factory.mktemp("lossless") / "out"
    code, told, _ = protected(study, out, "--lossless")
    return out, code, told


def restored(study: Path, folder: Path, out: Path, hospital: str = NAMES[1]) -> tuple[int, Told, str]:
    done = run_here("restore", folder, "--hospital", study / "hospitals" / hospital, "--out", out, "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, " ".join(done.stderr.split())


def called(study: Path, path: Path) -> int:
    square = decode(path.read_bytes(), SIZE).image
    return int(load_logits(study / "model.keras", (square[None, ..., None] / 255).astype(np.float32))[0, 0] >= 0)


def test_images_are_hidden_and_come_back_bit_for_bit_with_their_labels(
    study: Path, lossless: tuple[Path, int, Told], tmp_path: Path
) -> None:
    out, code, told = lossless
    names = load_classifier(study / "model.keras")[1].class_names
    written = [image for image in told["images"] if image["name"]]
    assert code == (0 if len(written) == len(told["images"]) else 3)
    assert told["states"]["hidden"] >= 0.7 * len(told["images"])
    for image in written:
        label = names.index(Path(image["source"]).parent.name)
        assert called(study, out / image["name"]) != label, "judged on the file as it was written"
    for path in (out).iterdir():
        for word in (b"MRN-", b"Doe^Jane", *(name.encode() for name in names)):
            assert word not in path.name.encode() + path.read_bytes()
    assert b"not cryptography" in (out / "README.txt").read_bytes()

    code, back, _ = restored(study, out, tmp_path / "back")
    assert (code, back["exact"], back["images"], back["problems"]) == (0, True, len(written), [])
    assert back["number"] == told["number"]
    for image in written:
        source, copy = Path(image["source"]), tmp_path / "back" / image["name"]
        if copy.suffix == ".dcm":
            assert np.array_equal(
                stored_values(source.read_bytes())[0].values, stored_values(copy.read_bytes())[0].values
            )
            assert pydicom.dcmread(copy).BitsStored == 12
        assert np.array_equal(decode(source.read_bytes(), SIZE).image, decode(copy.read_bytes(), SIZE).image)
    rows = list(csv.DictReader((tmp_path / "back" / "labels.csv").read_text().splitlines()))
    sources = {image["name"]: Path(image["source"]) for image in written}
    assert {row["image"] for row in rows} == set(sources)
    assert all(names[int(row["label_of_sender"])] == sources[row["image"]].parent.name for row in rows)
    right = np.mean([row["positive"] == row["label_of_sender"] for row in rows])
    assert right > 0.75, "the reader tells what the classifier misreads"


def test_people_are_told_what_they_have(study: Path, lossless: tuple[Path, int, Told], tmp_path: Path) -> None:
    done = run_here("restore", lossless[0], "--hospital", study / "hospitals" / NAMES[1], "--out", tmp_path / "back")
    for text in ("the originals, bit for bit", "labels rightly, on its hospital's own", lossless[2]["number"]):
        assert text in " ".join(done.stdout.split())
    assert "not cryptography" in " ".join(done.stderr.split())


def test_without_originals_images_are_nearer_to_what_they_were(study: Path, tmp_path: Path) -> None:
    _, told, _ = protected(study, tmp_path / "out")
    assert not list((tmp_path / "out").glob("[0-9]*.sealed"))
    code, back, _ = restored(study, tmp_path / "out", tmp_path / "back")
    assert (code, back["exact"]) == (0, False)
    errors = []
    for image in (image for image in told["images"] if image["name"]):
        before, there, after = (
            decode(path.read_bytes(), SIZE * LARGE).image.astype(float)
            for path in (Path(image["source"]), tmp_path / "out" / image["name"], tmp_path / "back" / image["name"])
        )
        errors.append((np.mean((there - before) ** 2), np.mean((after - before) ** 2)))
    cloaked, after = np.mean(errors, axis=0)
    assert after < cloaked


def test_who_is_not_the_receiver_and_what_is_damaged_is_refused(
    study: Path, lossless: tuple[Path, int, Told], tmp_path: Path
) -> None:
    shutil.copytree(lossless[0], tmp_path / "out")
    code, _, said = restored(study, tmp_path / "out", tmp_path / "back", NAMES[0])
    assert (code, said.count("Error:")) == (5, 1)
    assert "another hospital's" in said
    reader = tmp_path / "out" / "reader.sealed"
    content = reader.read_bytes()
    reader.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, _, said = restored(study, tmp_path / "out", tmp_path / "back")
    assert (code, "is damaged: its seal does not open" in said) == (7, True)
    reader.unlink()
    assert restored(study, tmp_path / "out", tmp_path / "back")[0] == 8
    assert not (tmp_path / "back").exists()
    reader.write_bytes(content)
    damaged = min((tmp_path / "out").glob("[0-9]*.png"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    code, back, said = restored(study, tmp_path / "out", tmp_path / "back")
    assert (code, len(back["problems"])) == (7, 1)
    assert damaged.name in back["problems"][0]
    assert f"1 of {back['images'] + 1} images could not be restored" in said


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"--to": "{root}/model.keras"}, 7, "is longer than"),
        ({"--to": "{root}/nobody"}, 8, "could not be read"),
        ({"--to": "ab" * 31}, 8, "could not be read"),
        ({"--to": "00" * 32}, 5, "Nothing can be sealed"),
        ({"--hospital": "{root}"}, 2, "is no hospital's folder"),
        ({"--model": "{root}/images"}, 3, "model.keras"),
        ({"--method": "magic"}, 2, "magic"),
        ({"--eps": "7"}, 2, "eps"),
        ({"--eps": "0"}, 3, "nothing was written"),
        ({"--out": "{root}/images"}, 2, "is in use"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(
    study: Path, tmp_path: Path, changes: dict[str, str], code: int, said: str
) -> None:
    options = {
        "--model": f"{study}/model.keras", "--hospital": f"{study}/hospitals/hospital-1",
        "--to": f"{study}/hospitals/hospital-2", "--out": f"{tmp_path}/out",
    } | {name: value.replace("{root}", str(study)) for name, value in changes.items()}  # fmt: skip
    image = min((study / "images").rglob("*.png"))
    done = run_here("protect", image, *(word for option in options.items() for word in option))
    assert (done.returncode, done.stderr.count("Error:")) == (code, 1), done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
