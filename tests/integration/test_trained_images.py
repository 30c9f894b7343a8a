"""Evaluate says what of the images the model was trained on, wherever and in whatever lossless format they lie now."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from federation import PRIVATE_SCATTER
from sample_images import KEY as PSEUDONYMS
from sample_images import class_folders, data_settings, encoded, picture, write
from shared_runs import SharedRuns

from commands.evaluate.scoring import _trained_on
from data_preprocessing import load_partition, preprocess, read_split, save_partition
from fedward.dataset.trained_images import DIGESTS, KEY, note_trained, which_trained
from fedward.errors import DataError, EvidenceError


def test_trained_images_are_known_again_elsewhere(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "data", {"NORMAL": 20, "PNEUMONIA": 20})
    data = preprocess(data_settings(source), 1, PSEUDONYMS, cache_folder=tmp_path / "cache")
    for partition in data.partitions:
        path = tmp_path / "run" / "hospitals" / partition.hospital / "partition.npz"
        path.parent.mkdir(parents=True)
        save_partition(path, partition)
    trained = sum(len(partition.train) for partition in data.partitions)
    moved = tmp_path / "elsewhere"
    for index, name in enumerate(("NORMAL", "PNEUMONIA")):
        for number in range(20):  # the same pictures under other names and in another format, and as many others
            write(moved / name / f"a{number}.bmp", encoded(picture(1000 * index + number), "BMP"))
            write(moved / name / f"b{number}.png", encoded(picture(50_000 + 1000 * index + number)))
    images, _ = read_split(data_settings(moved), 1, "all", cache_folder=tmp_path / "cache")
    assert _trained_on(tmp_path / "run", images) == trained == 28
    assert _trained_on(tmp_path, images) is None


def test_a_hospitals_digests_tell_without_run_and_images(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "data", {"NORMAL": 20, "PNEUMONIA": 20})
    data = preprocess(data_settings(source), 1, PSEUDONYMS, cache_folder=tmp_path / "cache")
    first, second = data.partitions[:2]
    for partition in (first, second):
        (tmp_path / partition.hospital).mkdir()
        note_trained(tmp_path / partition.hospital, partition.train.images)
    images, _ = read_split(data_settings(source), 1, "all", cache_folder=tmp_path / "cache")
    here, beside = tmp_path / first.hospital, tmp_path / second.hospital
    assert _trained_on(tmp_path, images) is None
    assert _trained_on(tmp_path, images, here) == len(first.train)
    assert _trained_on(beside, images) == len(second.train)
    assert _trained_on(beside, images, here) == len(first.train) + len(second.train)
    with pytest.raises(DataError, match="does not tell"):
        _trained_on(tmp_path, images, tmp_path / "data")


def test_digests_need_their_key_add_up_and_are_for_nobody_else(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (7, 16, 16), np.uint8)
    note_trained(tmp_path, images[:4])
    once = (tmp_path / DIGESTS).read_bytes()
    note_trained(tmp_path, images[:4])
    assert (tmp_path / DIGESTS).read_bytes() == once
    note_trained(tmp_path, images[3:6])
    assert which_trained(tmp_path, images) == [True] * 6 + [False]
    for name in (DIGESTS, KEY):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    note_trained(elsewhere, images)
    theirs = set(json.loads((elsewhere / DIGESTS).read_bytes())["digests"])
    assert not theirs & set(json.loads((tmp_path / DIGESTS).read_bytes())["digests"]), "another key, other digests"
    shutil.copy(elsewhere / KEY, tmp_path / KEY)
    assert which_trained(tmp_path, images) == [False] * 7
    for content in (b"", b"{}", b"[" * 100_000, b'{"format_version": 1, "digests": ["00"]}', b"\xff"):
        (tmp_path / DIGESTS).write_bytes(content)
        with pytest.raises(EvidenceError):
            which_trained(tmp_path, images)
    (tmp_path / KEY).unlink()
    with pytest.raises(EvidenceError):
        which_trained(tmp_path, images)


def test_a_hospital_that_takes_part_keeps_digests_and_sends_none(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *PRIVATE_SCATTER) as federation:
        assert federation.lead_round()["phase"] == "accepted"
    for folder in sorted((tmp_path / "run" / "hospitals").glob("hospital-*")):
        trained = load_partition(folder / "partition.npz").train.images
        assert which_trained(folder, trained) == [True] * len(trained)
    server = b"".join(path.read_bytes() for path in (tmp_path / "run" / "server").rglob("*") if path.is_file())
    for path in (tmp_path / "run").glob("hospitals/*/trained-images.*"):
        for secret in re.findall(rb"[0-9a-f]{32,}", path.read_bytes()):
            assert secret not in server
            assert bytes.fromhex(secret.decode()) not in server
