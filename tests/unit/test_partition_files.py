"""Partitions on the disk: the same bytes for the same content, and no damage goes unseen."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from data_preprocessing import load_partition, partition_digest, save_partition
from fedward.dataset import cache
from fedward.dataset.medmnist import list_medmnist
from fedward.errors import DataError, EvidenceError
from fedward.files import sha256
from fedward.folders.hospital import HospitalFolder
from fedward.types import HospitalId, ImageSet, Partition


def image_set(count: int, seed: int) -> ImageSet:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
    labels = rng.integers(0, 2, (count, 1)).astype(np.float32)
    return ImageSet(images, labels, np.array([f"{row:016x}" for row in range(count)], dtype="<U16"))


def partition(findings: tuple[str, ...] = ("opacity",), seed: int = 1) -> Partition:
    return Partition(HospitalId("hospital-1"), findings, image_set(5, seed), image_set(0, 2), image_set(2, 3))


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    save_partition(path, partition())
    back = load_partition(path)
    assert (back.hospital, back.findings) == ("hospital-1", ("opacity",))
    for mine, theirs in zip(
        (back.train, back.val, back.test), (image_set(5, 1), image_set(0, 2), image_set(2, 3)), strict=True
    ):
        assert np.array_equal(mine.images, theirs.images)
        assert np.array_equal(mine.labels, theirs.labels)
        assert np.array_equal(mine.patients, theirs.patients)
    assert partition_digest(back) == partition_digest(partition())
    assert path.stat().st_mode & 0o077 == 0


def test_same_content_same_bytes(tmp_path: Path) -> None:
    save_partition(tmp_path / "a.npz", partition())
    save_partition(tmp_path / "b.npz", partition())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_digest_tells_all_differences() -> None:
    base = partition()
    moved = Partition(base.hospital, base.findings, base.train, base.test, base.val)
    others = [partition(("effusion",)), partition(seed=9), moved]
    assert len({partition_digest(one) for one in [base, *others]}) == 4


def test_every_kind_of_damage_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    save_partition(path, partition())
    content = path.read_bytes()
    with pytest.raises(DataError, match="There is no partition"):
        load_partition(tmp_path / "none.npz")
    for damaged in (b"", b"text", content[:-30], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            load_partition(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(DataError, match="damaged or not a partition"):
        load_partition(path)
    np.savez_compressed(path, header=np.zeros(3))
    with pytest.raises(DataError, match="damaged or not a partition"):
        load_partition(path)


def test_content_that_was_exchanged_is_damage(tmp_path: Path) -> None:
    """A sound archive whose digest is of other content."""
    path = tmp_path / "p.npz"
    save_partition(path, partition())
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["train_labels"] = 1 - changed["train_labels"]
    np.savez(path, allow_pickle=False, **changed)
    with pytest.raises(DataError, match="damaged"):
        load_partition(path)


def test_a_foreign_archive_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header", '{"format_version": 1}')
    with pytest.raises(DataError, match="damaged"):
        load_partition(path)


class Trap:
    """Leaves a file behind where its pickle is opened."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.sprung,)


def from_cache(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(sha256(content) + content)
    if cache.load(path, 1, 8) is None:
        raise DataError("nothing was read", "")


READERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "partition": (load_partition, DataError),
    "model": (lambda path: HospitalFolder(path.parent).load_model(), EvidenceError),
    "candidate": (lambda path: HospitalFolder(path.parent).load_candidate(), EvidenceError),
    "MedMNIST": (list_medmnist, DataError),
    "cache": (from_cache, DataError),
}
NAMES = ("header", "rest", "images", "weights", "moments", "base_id", "round_index", "aggregate_hash", "train_images")


@pytest.mark.parametrize("reader", READERS)
def test_no_pickle_is_opened(reader: str, tmp_path: Path) -> None:
    read, error = READERS[reader]
    path, sprung = tmp_path / f"{reader}.npz", tmp_path / "sprung"
    trapped = np.array([Trap(sprung)], dtype=object)
    np.savez(path, allow_pickle=True, **dict.fromkeys(NAMES, trapped))
    with pytest.raises(error):
        read(path)
    assert not sprung.exists()
    with np.load(BytesIO(path.read_bytes()[32 if reader == "cache" else 0 :]), allow_pickle=True) as arrays:
        assert arrays[NAMES[0]].shape == (1,)
    assert sprung.exists(), "the trap is one"
