"""Folders of cloaked images: what is written, what it tells, and what comes back of it."""

import csv
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_images import CR, dicom, encoded, picture, write

from fedward.cloaking.pictures import grey_of
from fedward.cloaking.protecting import Cloak, Outcome, Source, cloak_files
from fedward.cloaking.reader_file import CloakedFile, Terms
from fedward.cloaking.restoring import LABELS, Restored, restore_files
from fedward.cloaking.sealed_originals import open_original, sealed_name
from fedward.dataset.dicom import stored_values
from fedward.dataset.reading import decode
from fedward.errors import EvidenceError, FedwardError, VerificationError
from fedward.progress import silent
from fedward.types import Vector

pytestmark = pytest.mark.slow

SIZE = 16
FOLDER, KEY = b"f" * 16, b"k" * 32
WEIGHTS = np.random.default_rng(3).choice([-1.0, 1.0], (SIZE, SIZE))
WEIGHTS -= WEIGHTS.mean()


class Linear:
    """A classifier whose decision is known by heart: positive where the weighted sum of pixels is above 0."""

    def decisions(self, pixels: Vector) -> np.ndarray:
        return self.margins(pixels) > 0

    def margins(self, pixels: Vector) -> np.ndarray:
        return np.sum(pixels[..., 0] * WEIGHTS, axis=(1, 2))[:, None]


def perturb(pixels: Vector, labels: Vector, eps: float = 0.08) -> Vector:
    away = np.where(labels > 0, -1, 1)[..., None, None]
    return np.clip(pixels + eps * away * np.sign(WEIGHTS)[..., None], 0, 1).astype(np.float32)


class Inverse:
    """A reader that knows the attack: takes the sign of the change off again."""

    def images(self, encrypted: Vector) -> Vector:
        was = ~Linear().decisions(encrypted)
        return perturb(encrypted, (~was).astype(np.float32))

    def scores(self, encrypted: Vector) -> Vector:
        return (-Linear().margins(encrypted)).astype(np.float32)


def sources(folder: Path, count: int = 4, seed: int = 40) -> list[Source]:
    found = []
    for number in range(count):
        pixels = picture(seed + number, 70, 80)
        if number % 2:
            values = pixels.astype(np.uint16) * 16
            content = dicom(values, CR, BitsStored=12, HighBit=11, PatientID=f"MRN-{number}", PatientName="Doe^Jane")
            path = write(folder / "PNEUMONIA" / f"person{number}_virus.dcm", content)
        else:
            path = write(folder / "NORMAL" / f"person{number}.png", encoded(pixels))
        found.append(Source(path))
    return found


def cloaked(
    folder: Path, given: Sequence[Source], key: bytes = b"", eps: float = 0.08, keep: bool = False
) -> tuple[list[Outcome], tuple[CloakedFile, ...]]:
    folder.mkdir()
    how = Cloak(Linear(), lambda pixels, labels: perturb(pixels, labels, eps), SIZE, FOLDER, key, keep)
    return cloak_files(given, folder, how, silent)


def terms(files: tuple[CloakedFile, ...], key: bytes = b"", moved: float = 30.0) -> Terms:
    return Terms(1, FOLDER, "linear", ("PNEUMONIA",), (0.5,), SIZE, moved, 0, 0, key, files)


def restored(folder: Path, said: Terms, into: Path) -> Restored:
    into.mkdir()
    return restore_files(folder, said, Inverse(), into, silent)


def decision(content: bytes) -> bool:
    square = decode(content, SIZE).image
    return bool(Linear().decisions((square[None, ..., None] / 255).astype(np.float32))[0, 0])


def test_labels_are_flipped_in_the_files_that_were_written(tmp_path: Path) -> None:
    given = sources(tmp_path, 6)
    outcomes, files = cloaked(tmp_path / "out", given)
    assert [outcome.source for outcome in outcomes] == [source.path for source in given]
    assert {outcome.state for outcome in outcomes} == {"hidden"}
    for outcome in outcomes:
        before, after = (path.read_bytes() for path in (outcome.source, tmp_path / "out" / outcome.name))
        assert decision(before) != decision(after)
        assert outcome.name.endswith(outcome.source.suffix)
        assert 0 < outcome.moved <= 0.08 * 255 * 2 + 1
        assert outcome.psnr > 15
    assert sorted(file.name for file in files) == sorted(path.name for path in (tmp_path / "out").iterdir())


def test_names_order_and_bytes_tell_neither_label_nor_patient(tmp_path: Path) -> None:
    given = sources(tmp_path, 8)
    orders = set()
    for run in range(4):
        out = tmp_path / f"out{run}"
        outcomes, _ = cloaked(out, given, KEY)
        orders.add(tuple(outcome.name.partition(".")[0] for outcome in outcomes))
        for path in out.iterdir():
            assert path.name.partition(".")[0].isdigit()
            lowered = (path.name.encode() + path.read_bytes()).lower()
            for word in (b"person", b"pneumonia", b"normal", b"virus", b"mrn-", b"doe^jane"):
                assert word not in lowered
    assert len(orders) > 1, "the order is drawn"
    assert b"Doe^Jane" in given[1].path.read_bytes(), "the control"


def test_images_whose_label_is_read_still_are_named_and_left_out_unless_kept(tmp_path: Path) -> None:
    given = sources(tmp_path)
    outcomes, files = cloaked(tmp_path / "out", given, eps=0.0001)
    assert {outcome.state for outcome in outcomes} == {"not hidden"}
    assert files == ()
    assert list((tmp_path / "out").iterdir()) == []
    kept, files = cloaked(tmp_path / "kept", given, eps=0.0001, keep=True)
    assert {outcome.state for outcome in kept} == {"not hidden"}
    assert len(files) == len(given)


def test_a_label_that_the_model_misreads_already_is_not_counted_as_hidden(tmp_path: Path) -> None:
    (source,) = sources(tmp_path, 1)
    says = int(decision(source.path.read_bytes()))
    (wrong,), files = cloaked(tmp_path / "wrong", [Source(source.path, (1 - says,))])
    assert (wrong.state, files[0].labels) == ("misread before", (1 - says,))
    assert decision((tmp_path / "wrong" / wrong.name).read_bytes()) == bool(says)
    (right,), _ = cloaked(tmp_path / "right", [Source(source.path, (says,))])
    assert right.state == "hidden"


def test_what_is_no_image_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    given = [Source(write(tmp_path / "note.png", b"no image")), *sources(tmp_path, 2), Source(tmp_path / "gone.png")]
    outcomes, files = cloaked(tmp_path / "out", given)
    assert [outcome.state for outcome in outcomes] == ["unreadable", "hidden", "hidden", "unreadable"]
    assert all(outcome.reason for outcome in (outcomes[0], outcomes[3]))
    assert len(files) == 2


def test_originals_come_back_bit_for_bit(tmp_path: Path) -> None:
    given = sources(tmp_path)
    outcomes, files = cloaked(tmp_path / "out", given, KEY)
    found = restored(tmp_path / "out", terms(files, KEY), tmp_path / "back")
    assert (found.exact, found.problems) == (True, ())
    for outcome in outcomes:
        content = (tmp_path / "back" / outcome.name).read_bytes()
        sealed = (tmp_path / "out" / sealed_name(outcome.name)).read_bytes()
        assert content == open_original(sealed, KEY, FOLDER, outcome.name)
        if outcome.name.endswith("png"):
            with Image.open(BytesIO(content)) as back, Image.open(outcome.source) as source:
                assert np.array_equal(np.asarray(back), np.asarray(source))
        else:
            before = stored_values(outcome.source.read_bytes())[0]
            assert np.array_equal(stored_values(content)[0].values, before.values)


def test_without_originals_the_reader_takes_off_what_was_put_on(tmp_path: Path) -> None:
    given = sources(tmp_path, 6)
    outcomes, files = cloaked(tmp_path / "out", given)
    said = terms(files, moved=max(outcome.moved for outcome in outcomes))
    found = restored(tmp_path / "out", said, tmp_path / "back")
    assert not found.exact
    for outcome in outcomes:
        back, there, before = (
            grey_of(path.read_bytes()).astype(float)
            for path in (tmp_path / "back" / outcome.name, tmp_path / "out" / outcome.name, outcome.source)
        )
        assert np.mean((back - before) ** 2) < 0.5 * np.mean((there - before) ** 2)
        assert np.abs(back - there).max() <= said.most_change + 1


def test_labels_come_as_a_table(tmp_path: Path) -> None:
    given = sources(tmp_path)
    given = [Source(source.path, (int(decision(source.path.read_bytes())),)) for source in given[:2]] + given[2:]
    outcomes, files = cloaked(tmp_path / "out", given)
    found = restored(tmp_path / "out", terms(files), tmp_path / "back")
    rows = list(csv.DictReader((tmp_path / "back" / LABELS).read_text().splitlines()))
    assert {row["image"] for row in rows} == {outcome.name for outcome in outcomes}
    by_name = {row["image"]: row for row in rows}
    for source, outcome in zip(given, outcomes, strict=True):
        row = by_name[outcome.name]
        assert row["positive"] == str(int(decision(source.path.read_bytes())))
        assert row["label_of_sender"] == ("" if source.labels is None else str(source.labels[0]))
        assert (float(row["probability"]) >= 0.5) == (row["positive"] == "1")
    assert len(found.labels) == len(given)
    assert (tmp_path / "back" / LABELS).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("lossless", [False, True])
def test_damaged_files_are_one_sentence_each_and_the_rest_goes_on(tmp_path: Path, lossless: bool) -> None:
    key = KEY if lossless else b""
    outcomes, files = cloaked(tmp_path / "out", sources(tmp_path, 5), key)
    names = [outcome.name for outcome in outcomes]
    (tmp_path / "out" / names[0]).write_bytes(b"")
    (tmp_path / "out" / names[1]).unlink()
    changed = sealed_name(names[2]) if lossless else names[2]
    content = bytearray((tmp_path / "out" / changed).read_bytes())
    content[-20] ^= 1
    (tmp_path / "out" / changed).write_bytes(content)
    found = restored(tmp_path / "out", terms(files, key), tmp_path / "back")
    assert len(found.problems) == 3
    for name in (names[0], names[1], changed):
        assert sum(name in problem for problem in found.problems) == 1
    assert {path.name for path in (tmp_path / "back").iterdir()} == {*names[3:], LABELS}
    assert {label.image for label in found.labels} == set(names[3:])


def test_an_original_in_anothers_place_is_refused(tmp_path: Path) -> None:
    outcomes, files = cloaked(tmp_path / "out", sources(tmp_path, 3), KEY)
    first, second = (tmp_path / "out" / sealed_name(outcome.name) for outcome in outcomes[:2])
    first.write_bytes(second.read_bytes())
    found = restored(tmp_path / "out", terms(files, KEY), tmp_path / "back")
    assert [first.name in problem for problem in found.problems] == [True]


def test_where_nothing_can_be_restored_nothing_is_written(tmp_path: Path) -> None:
    _, files = cloaked(tmp_path / "out", sources(tmp_path))
    _, others = cloaked(tmp_path / "others", sources(tmp_path, seed=80))
    with pytest.raises(VerificationError, match="None of the 4 images"):
        restored(tmp_path / "others", terms(files), tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []
    with pytest.raises(EvidenceError, match="names no images"):
        restored(tmp_path / "out", terms(()), tmp_path / "none")
    one = terms(others[:1])
    with pytest.raises(FedwardError, match=one.files[0].name):
        restored(tmp_path / "out", one, tmp_path / "one")
