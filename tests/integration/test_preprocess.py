"""From files to partitions: every layout, every kind of bad input, and the promises of `preprocess`."""

import json
import os
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_images import KEY, MR, class_folders, data_settings, dicom, encoded, nih_folder, picture, write

from data_preprocessing import (
    PreparedData,
    has_own_splits,
    partition_digest,
    preprocess,
    read_image,
    select_split,
)
from fedward.errors import DataError, UsageError
from fedward.settings import DataSettings
from fedward.types import ImageSet

TWO = {"NORMAL": 20, "PNEUMONIA": 20}


def prepare(settings: DataSettings, **options: Any) -> PreparedData:
    return preprocess(settings, 1, KEY, **options)


def contents(*sets: ImageSet) -> Counter[bytes]:
    """A multiset of image and label."""
    rows = [(part.images[row].tobytes() + part.labels[row].tobytes()) for part in sets for row in range(len(part))]
    return Counter(rows)


def medmnist(path: Path, labels: int = 2, splits: tuple[str, ...] = ("train", "val", "test"), **extra: Any) -> Path:
    rng = np.random.default_rng(5)
    arrays: dict[str, Any] = {}
    for split in splits:
        arrays[f"{split}_images"] = rng.integers(0, 256, (24, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(24) % labels)[:, None].astype(np.uint8)
    np.savez(path, **(arrays | extra))
    return path


def dicom_folders(root: Path) -> Path:
    """Ten patients a class, CR and MR, in the nested folders without suffixes that archives write."""
    for index in range(20):
        kind = "NORMAL" if index < 10 else "SICK"
        for series in range(2):
            pixels = picture(2 * index + series).astype(np.uint16) * 16
            fields: dict[str, Any] = {"PatientID": f"pat-{index}", "PatientName": "Doe^John"}
            content = dicom(pixels, **fields) if index % 2 else dicom(pixels, MR, implicit=True, **fields)
            write(root / kind / f"study{index}" / f"IM{series:04d}", content)
    return root


# ---- layouts -----------------------------------------------------------------------------------------------------


def source_of(kind: str, folder: Path) -> DataSettings:
    if kind == "classes":
        return data_settings(class_folders(folder, TWO))
    if kind == "splits":
        return data_settings(class_folders(folder, {f"{s}/{c}": 6 for s in ("train", "val", "test") for c in TWO}))
    if kind == "no val":
        return data_settings(class_folders(folder, {f"{s}/{c}": 12 for s in ("train", "test") for c in TWO}))
    if kind == "nih":
        rows = [
            (f"{p:08d}_{n:03d}.png", "Mass|Edema" if p % 2 else "No Finding", str(p), "PA" if p % 3 else "AP")
            for p in range(20)
            for n in range(2)
        ]
        return data_settings(nih_folder(folder, rows), partition="by-column", column="View Position")
    if kind == "medmnist":
        return data_settings(medmnist(folder / "set.npz"), partition="dirichlet")
    if kind == "dicom":
        return data_settings(dicom_folders(folder))
    return data_settings("synthetic", synthetic_images=120, hospitals=3)


KINDS = ["classes", "splits", "no val", "nih", "medmnist", "dicom", "synthetic"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_gives_partitions_whose_union_is_the_split(kind: str, tmp_path: Path) -> None:
    settings = source_of(kind, tmp_path)
    data = prepare(settings)
    assert [partition.hospital for partition in data.partitions] == [
        f"hospital-{i + 1}" for i in range(settings.hospitals)
    ]
    for partition in data.partitions:
        assert partition.findings == data.findings
        assert partition.train.images.shape[1:] == (16, 16)
        assert len(set(partition.train.labels[:, 0].tolist())) == 2
    for split in ("train", "val", "test"):
        whole = select_split(settings, 1, split)
        assert len(whole) > 0
        assert contents(whole) == contents(*(getattr(partition, split) for partition in data.partitions))
    everything = select_split(settings, 1, "all")
    assert len(everything) == data.manifest["images"]
    assert has_own_splits(settings) == (kind in ("splits", "no val", "medmnist"))


@pytest.mark.parametrize("kind", KINDS)
def test_test_split_depends_on_no_hospital(kind: str, tmp_path: Path) -> None:
    settings = source_of(kind, tmp_path)
    changed = data_settings(settings.source, hospitals=2, synthetic_images=120)
    one = preprocess(settings, 1, KEY)
    other = preprocess(changed, 1, b"another key of 32 bytes or more..")
    assert contents(*(p.test for p in one.partitions)) == contents(*(p.test for p in other.partitions))


@pytest.mark.parametrize("kind", KINDS)
def test_same_bytes_whatever_the_workers_and_the_cache(kind: str, tmp_path: Path) -> None:
    settings = source_of(kind, tmp_path / "data") if kind != "medmnist" else source_of(kind, tmp_path)
    runs = [
        prepare(settings, workers=workers, cache_folder=tmp_path / cache)
        for workers, cache in ((1, "a"), (7, "b"), (3, "a"))
    ]
    digests = [[partition_digest(partition) for partition in run.partitions] for run in runs]
    assert digests[0] == digests[1] == digests[2]
    assert runs[0].manifest == runs[1].manifest == runs[2].manifest
    assert runs[0].report == runs[1].report == runs[2].report
    other = preprocess(settings, 1, b"another key of 32 bytes or more..")
    assert [partition_digest(partition) for partition in other.partitions] != digests[0]


def test_dicom_keeps_patients_together_and_names_classes_by_folder(tmp_path: Path) -> None:
    data = prepare(data_settings(dicom_folders(tmp_path)))
    assert data.class_names == ("NORMAL", "SICK")
    assert data.manifest["patient_ids"]["images_without_id"] == 0  # type: ignore[index]
    seen: dict[str, set[str]] = {}
    for partition in data.partitions:
        for split in ("train", "val", "test"):
            for patient in getattr(partition, split).patients.tolist():
                seen.setdefault(patient, set()).add(f"{partition.hospital} {split}")
    assert len(seen) == 20
    assert all(len(places) == 1 for places in seen.values())


def test_nih_findings_by_name_any_and_all(tmp_path: Path) -> None:
    source = source_of("nih", tmp_path).source
    assert prepare(data_settings(source)).findings == ("any",)
    assert prepare(data_settings(source, finding="all")).findings == ("Edema", "Mass")
    assert prepare(data_settings(source, finding="mass")).class_names == ("not Mass", "Mass")


def test_patient_ids_are_no_column_to_partition_by(tmp_path: Path) -> None:
    source = source_of("nih", tmp_path).source
    with pytest.raises(DataError, match="no column 'Patient ID'; it has 'Follow-up #'"):
        prepare(data_settings(source, partition="by-column", column="Patient ID"))


def test_nih_official_split_lists_are_kept(tmp_path: Path) -> None:
    settings = source_of("nih", tmp_path)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    write(tmp_path / "test_list.txt", "\n".join(names[:8]).encode())
    write(tmp_path / "train_val_list.txt", "\n".join(names[8:]).encode())
    assert len(select_split(settings, 1, "test")) == 8
    assert has_own_splits(settings)


def test_a_folder_inside_a_lone_folder_is_found(tmp_path: Path) -> None:
    class_folders(tmp_path / "chest" / "chest", {f"train/{name}": 10 for name in TWO})
    write(tmp_path / "__MACOSX" / "x" / "._1.png", b"resource fork")
    assert prepare(data_settings(tmp_path)).findings == ("PNEUMONIA",)


def test_only_a_test_folder_can_be_evaluated_not_trained_on(tmp_path: Path) -> None:
    settings = data_settings(class_folders(tmp_path, {"test/NORMAL": 3, "test/PNEUMONIA": 4}))
    assert has_own_splits(settings)
    assert len(select_split(settings, 1, "test", expected=("opacity",))) == 7
    with pytest.raises(DataError, match="no images to train on"):
        prepare(settings)
    with pytest.raises(DataError, match="no images in the split 'val'"):
        select_split(settings, 1, "val")


def test_model_of_other_findings_is_refused(tmp_path: Path) -> None:
    settings = data_settings(class_folders(tmp_path, TWO))
    with pytest.raises(DataError, match="lacks"):
        select_split(settings, 1, "all", expected=("Mass", "Edema"))
    assert select_split(settings, 1, "all", expected=("opacity",)).labels.mean() == 0.5


# ---- splits ------------------------------------------------------------------------------------------------------


def test_given_splits_lose_shared_patients_and_images_to_test(tmp_path: Path) -> None:
    class_folders(tmp_path, {f"{split}/{name}": 8 for split in ("train", "val", "test") for name in TWO})
    same = (tmp_path / "test/NORMAL/test-NORMAL-0.png").read_bytes()
    write(tmp_path / "train/NORMAL/copy.png", same)
    write(tmp_path / "val/NORMAL/copy.bmp", encoded(np.asarray(picture(9000)), "BMP"))
    write(tmp_path / "train/PNEUMONIA/same-pixels.tif", encoded(picture(9000), "TIFF"))
    for split, number in (("train", 1), ("train", 2), ("test", 3)):
        write(tmp_path / split / "PNEUMONIA" / f"person7_virus_{number}.jpeg", encoded(picture(900 + number), "JPEG"))
    data = prepare(data_settings(tmp_path))
    removed = data.manifest["splits"]["removed_because_shared"]  # type: ignore[index]
    assert removed == {"train": {"identical image": 2, "shared patient": 2}}
    assert len(select_split(data_settings(tmp_path), 1, "test")) == 17
    assert len(select_split(data_settings(tmp_path), 1, "val")) == 17
    assert len(select_split(data_settings(tmp_path), 1, "train")) == 16


def test_sixteen_images_are_enough_for_two_hospitals(tmp_path: Path) -> None:
    data = prepare(data_settings(class_folders(tmp_path, {"NORMAL": 8, "PNEUMONIA": 8})))
    for partition in data.partitions:
        assert set(partition.train.labels[:, 0].tolist()) == {0, 1}
    for split in ("val", "test"):
        labels = select_split(data_settings(tmp_path), 1, split).labels
        assert set(labels[:, 0].tolist()) == {0, 1}


def test_without_ids_the_manifest_says_so(tmp_path: Path) -> None:
    ids = prepare(data_settings(class_folders(tmp_path, TWO))).manifest["patient_ids"]
    assert isinstance(ids, dict)
    assert ids["images_without_id"] == 40
    assert "patient of its own" in ids["note"]


def test_manifest_counts_and_hashes_are_those_of_the_partitions(tmp_path: Path) -> None:
    data = prepare(data_settings(class_folders(tmp_path, TWO)))
    json.dumps(data.manifest)
    json.dumps(data.report)
    hospitals: Any = data.manifest["hospitals"]
    for partition in data.partitions:
        entry = hospitals[partition.hospital]
        assert entry["sha256"] == partition_digest(partition).hex()
        for split in ("train", "val", "test"):
            part = getattr(partition, split)
            assert entry[split]["images"] == len(part)
            assert entry[split]["by_class"]["PNEUMONIA"] == part.labels.sum()
            assert entry[split]["by_class"]["NORMAL"] == len(part) - part.labels.sum()


# ---- bad files ---------------------------------------------------------------------------------------------------

BAD = {
    "empty.png": b"",
    "text.jpeg": b"this is no image",
    "truncated.jpg": encoded(picture(77), "JPEG")[:400],
    "half.png": encoded(picture(78))[:150],
    "broken.dcm": dicom(picture(79))[:-100],
}
ODD = {
    "jpeg-named.png": encoded(picture(80), "JPEG"),
    "png-named.dcm": encoded(picture(81)),
    "sixteen.png": encoded(picture(82).astype(np.uint16) * 257),
    "alpha.png": encoded(picture(83), "PNG", "RGBA"),
    "cmyk.jpg": encoded(picture(84), "JPEG", "CMYK"),
    "palette.gif": encoded(picture(85), "GIF"),
    "dicom-without-suffix": dicom(picture(86)),
}
IGNORED = {".hidden.png": b"x", "Thumbs.db": b"x", ".DS_Store": b"x", "__MACOSX/._1.png": b"x", "notes.txt": b"x"}


def test_odd_files_are_read_and_bad_ones_named(tmp_path: Path) -> None:
    class_folders(tmp_path, {"NORMAL": 40, "PNEUMONIA": 40})
    for name, content in (BAD | ODD | IGNORED).items():
        write(tmp_path / "NORMAL" / name, content)
    data = prepare(data_settings(tmp_path))
    report: Any = data.report
    assert {Path(bad["name"]).name for bad in report["unreadable"]} == set(BAD)
    assert all(bad["reason"] for bad in report["unreadable"])
    assert report["unreadable_count"] == len(BAD)
    assert report["readable"] == 80 + len(ODD)
    assert report["not_images"] == ["NORMAL/notes.txt"]
    assert report["skipped"] == {"hidden and system files": 4}


def test_too_many_bad_files_stop(tmp_path: Path) -> None:
    class_folders(tmp_path, {"NORMAL": 10, "PNEUMONIA": 10})
    for name, content in BAD.items():
        write(tmp_path / "NORMAL" / name, content)
    with pytest.raises(DataError, match=r"5 of 25 files .*data.max-bad-share = 0.1 allows .*NORMAL/broken.dcm"):
        prepare(data_settings(tmp_path))
    assert prepare(data_settings(tmp_path, max_bad_share=0.2)).manifest["images"] == 20


def test_links_out_of_the_source_and_pipes_are_not_read(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", TWO)
    outside = write(tmp_path / "secret.png", encoded(picture(999)))
    (root / "NORMAL" / "link.png").symlink_to(outside)
    (root / "NORMAL" / "inside.png").symlink_to(root / "NORMAL" / "NORMAL-0.png")
    (root / "NORMAL" / "more").symlink_to(tmp_path)
    (root / "OTHER").symlink_to(tmp_path)
    os.mkfifo(root / "NORMAL" / "pipe.png")
    data = prepare(data_settings(root))
    assert data.manifest["images"] == 41
    assert data.report["skipped"] == {
        "links to folders, which are not followed": 2,
        "links that lead out of the folder": 1,
        "pipes, sockets and devices": 1,
    }


def check_refused(settings: DataSettings, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        prepare(settings)
    assert caught.value.exit_code == 3
    assert caught.value.remedy
    for word in words:
        assert word in str(caught.value)


def test_sources_that_are_refused(tmp_path: Path) -> None:
    check_refused(data_settings(tmp_path / "nowhere"), "nowhere", "--data")
    (tmp_path / "empty").mkdir()
    check_refused(data_settings(tmp_path / "empty"), "NIH", "MedMNIST", "DICOM", "synthetic")
    check_refused(data_settings(write(tmp_path / "a.txt", b"text")), "no layout")
    check_refused(data_settings(class_folders(tmp_path / "one", {"NORMAL": 5})), "only the class 'NORMAL'")
    check_refused(
        data_settings(class_folders(tmp_path / "few", {"no": 2, "yes": 2}), hospitals=9), "9 hospitals", "2 patients"
    )
    check_refused(data_settings(class_folders(tmp_path / "names", TWO), finding="PNEUMONA"), "Did you mean 'PNEUMONIA'")
    many = class_folders(tmp_path / "many", {f"p{i}": 1 for i in range(60)})
    check_refused(data_settings(many), "they number patients")
    for name in ("no", "yes"):
        write(tmp_path / "rot" / name / "1.png", b"rotten")
    check_refused(data_settings(tmp_path / "rot"), "None of the 2 files")
    check_refused(data_settings(class_folders(tmp_path / "flat", {".": 3})), "no layout")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"a,b\n1,2\n", "Image Index"),
        (b"Image Index,Finding Labels,Patient ID\nx.png,Mass,1\n", "None of the 1 images"),
        (b"\xff\xfe\x00\x01", "no column"),
        (b"", "Image Index"),
    ],
)
def test_damaged_nih_tables(table: bytes, words: str, tmp_path: Path) -> None:
    write(tmp_path / "Data_Entry_2017.csv", table)
    write(tmp_path / "images" / "1.png", encoded(picture(1)))
    check_refused(data_settings(tmp_path), words)


def test_nih_rows_and_files_that_do_not_meet_are_counted(tmp_path: Path) -> None:
    settings = source_of("nih", tmp_path)
    write(tmp_path / "images" / "stray.png", encoded(picture(5000)))
    with (tmp_path / "Data_Entry_2017.csv").open("a") as file:
        file.write("../../etc/passwd,Mass,0,1,50,F,PA\nmissing.png,Mass,0,1,50,F,PA\n")
    assert prepare(settings).report["skipped"] == {
        "rows without an image file": 2,
        "image files without a row in the table": 1,
    }


def test_medmnist_without_official_splits_or_with_three_classes(tmp_path: Path) -> None:
    train_only = data_settings(medmnist(tmp_path / "a.npz", splits=("train",)))
    assert prepare(train_only).manifest["splits"]["carved_from_train"] == ["val", "test"]  # type: ignore[index]
    assert prepare(data_settings(medmnist(tmp_path / "b.npz", labels=3))).findings == ("0", "1", "2")
    named = prepare(data_settings(medmnist(tmp_path / "pneumoniamnist_64.npz")))
    assert named.class_names == ("normal", "pneumonia")


def test_damaged_medmnist_files(tmp_path: Path) -> None:
    good = medmnist(tmp_path / "good.npz").read_bytes()
    check_refused(data_settings(write(tmp_path / "cut.npz", good[:-500])), "damaged")
    altered = bytearray(good)
    altered[len(good) // 2] ^= 255
    check_refused(data_settings(write(tmp_path / "altered.npz", bytes(altered))), "damaged")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    check_refused(data_settings(tmp_path / "other.npz"), "no train_images")
    check_refused(
        data_settings(medmnist(tmp_path / "short.npz", val_labels=np.zeros((3, 1), np.uint8))), "does not fit"
    )
    np.savez(tmp_path / "pickle.npz", train_images=np.array([object()]), train_labels=np.zeros(1))
    check_refused(data_settings(tmp_path / "pickle.npz"), "damaged")
    solid = np.zeros((24, 28, 28, 28), np.uint8)
    check_refused(data_settings(medmnist(tmp_path / "solid.npz", train_images=solid)), "has the shape")
    below = np.where(np.arange(24) == 3, -1, np.arange(24) % 2)
    check_refused(data_settings(medmnist(tmp_path / "below.npz", train_labels=below)), "below zero")
    bits = np.zeros((24, 28, 28), np.bool_)
    check_refused(data_settings(medmnist(tmp_path / "bits.npz", train_images=bits)), "holds bool")
    check_refused(data_settings(medmnist(tmp_path / "mixed.npz", train_images=bits / 1.0)), "kinds of numbers")
    twice = write(tmp_path / "twice.npz", good)
    with zipfile.ZipFile(twice) as archive, warnings.catch_warnings():
        labels = archive.read("train_labels.npy")
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(twice, "a") as more:
            more.writestr("train_labels.npy", labels[:-1] + b"\x01")
    check_refused(data_settings(twice), "twice")
    with zipfile.ZipFile(tmp_path / "archive.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    check_refused(data_settings(tmp_path / "archive.npz"), "no train_images")


def test_short_pseudonym_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16 random bytes"):
        preprocess(data_settings(class_folders(tmp_path, TWO)), 1, b"short")


# ---- cache and single files --------------------------------------------------------------------------------------


def test_cache_is_used_and_a_damaged_or_stale_one_is_not(tmp_path: Path) -> None:
    settings = data_settings(class_folders(tmp_path / "data", TWO))
    cache = tmp_path / "cache"
    calls: list[tuple[int, int]] = []
    first = prepare(settings, cache_folder=cache, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 40) for done in range(1, 41)]
    calls.clear()
    prepare(settings, cache_folder=cache, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(40, 40)]
    (file,) = cache.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    content = file.read_bytes()
    for damaged in (content[:-1], b"", content[:100] + b"?" + content[101:]):
        file.write_bytes(damaged)
        assert prepare(settings, cache_folder=cache).manifest == first.manifest
    changed = tmp_path / "data" / "NORMAL" / "NORMAL-0.png"
    changed.write_bytes(encoded(picture(31337)))
    assert prepare(settings, cache_folder=cache).manifest != first.manifest


def test_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    settings = data_settings(class_folders(tmp_path / "data", TWO))
    write(tmp_path / "file", b"in the way")
    assert prepare(settings, cache_folder=tmp_path / "file" / "cache").manifest["images"] == 40


def test_read_image_equals_what_the_stage_gives(tmp_path: Path) -> None:
    settings = data_settings(class_folders(tmp_path, TWO))
    whole = {image.tobytes() for image in select_split(settings, 1, "all").images}
    assert {read_image(path, 16).tobytes() for path in tmp_path.rglob("*.png")} == whole
    with pytest.raises(DataError, match=r"missing\.png"):
        read_image(tmp_path / "missing.png", 16)
    with pytest.raises(DataError):
        read_image(tmp_path, 16)
