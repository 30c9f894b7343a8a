"""The real sets: what their README promises is what the stage finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_images import KEY, data_settings

from data_preprocessing import preprocess, read_image, select_split

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decoded")


def counts(manifest: dict[str, Any], split: str) -> int:
    return sum(entry[split]["images"] for entry in manifest["hospitals"].values())


@pytest.mark.parametrize("partition", ["iid", "dirichlet"])
def test_chest_xray_keeps_its_splits(real_data: Path, cache: Path, partition: str) -> None:
    settings = data_settings(real_data / "chest_xray", hospitals=5, partition=partition, image_size=64)
    data = preprocess(settings, 1, KEY, cache_folder=cache)
    assert data.class_names == ("NORMAL", "PNEUMONIA")
    assert [counts(data.manifest, split) for split in ("train", "val", "test")] == [3394, 535, 552]
    splits: Any = data.manifest["splits"]
    assert splits["removed_because_shared"] == {}
    assert data.report["unreadable_count"] == 0
    assert data.manifest["patient_ids"]["images_without_id"] == 0  # type: ignore[index]
    test = select_split(settings, 1, "test", cache_folder=cache)
    assert sorted(image.tobytes() for image in test.images) == sorted(
        image.tobytes() for partition in data.partitions for image in partition.test.images
    )


def test_originals_are_enough_for_two_hospitals(real_data: Path, cache: Path) -> None:
    data = preprocess(data_settings(real_data / "originals", hospitals=2), 1, KEY, cache_folder=cache)
    for partition in data.partitions:
        assert set(partition.train.labels[:, 0].tolist()) == {0, 1}
    assert data.manifest["images"] == 16
    assert data.manifest["patients"] == 15
    dropped: Any = data.report["dropped"]
    assert dropped["EXIF fields"] > 0


def test_originals_look_like_their_reduced_copies(real_data: Path, cache: Path) -> None:
    """The loader on full size, against the same pictures made small by somebody else."""
    reduced = {path.name: path for path in (real_data / "chest_xray").rglob("*.jpeg")}
    for path in (real_data / "originals").rglob("*.jpeg"):
        mine, theirs = read_image(path, 64).astype(float), read_image(reduced[path.name], 64).astype(float)
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.98, path.name


def test_pneumoniamnist(real_data: Path, cache: Path) -> None:
    data = preprocess(data_settings(real_data / "pneumoniamnist.npz", hospitals=5), 1, KEY, cache_folder=cache)
    assert [counts(data.manifest, split) for split in ("train", "val", "test")] == [4212, 524, 470]
    assert data.class_names == ("normal", "pneumonia")


@pytest.mark.parametrize(("finding", "columns"), [("any", 1), ("all", 14), ("effusion", 1)])
def test_nih(real_data: Path, cache: Path, finding: str, columns: int) -> None:
    settings = data_settings(real_data / "nih_chestxray14", hospitals=2, finding=finding, partition="by-column")
    for column in ("View Position", "Patient Gender"):
        changed = data_settings(settings.source, finding=finding, partition="by-column", column=column)
        data = preprocess(changed, 1, KEY, cache_folder=cache)
        assert len(data.findings) == columns
        assert data.manifest["images"] == 772
