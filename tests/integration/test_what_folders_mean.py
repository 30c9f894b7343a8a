"""What folders mean, who is positive, whose image it is, and that nothing is left out in silence: a row a case.

Most rows are layouts, names and ids as hospitals and public sets have them, with what a person would say they are.
"""

# ruff: noqa: E501 - tables, a row a line

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_images import KEY, data_settings, dicom, encoded, picture, write
from source_tree import ROOT

from data_preprocessing import PreparedData, preprocess
from fedward.dataset.labeling import choose_findings
from fedward.dataset.layouts import list_images
from fedward.dataset.naming import asked_finding, negative_class, positive_of_two
from fedward.dataset.patients import BY_FILE, BY_FOLDER, BY_HEADER, BY_NAME, BY_NOTHING, BY_REGEX, BY_STUDY, same_id
from fedward.dataset.records import Entry, Listing
from fedward.dataset.tabled import CONTRADICTED, UNLABELED
from fedward.dataset.walking import told
from fedward.errors import DataError, UsageError

Build = Callable[[Path], Any]


def images(root: Path, *names: str) -> None:
    """Small distinct pictures under these names."""
    start = sum(1 for _ in root.rglob("*"))
    for number, name in enumerate(names):
        suffix = Path(name).suffix
        kind = {".jpg": "JPEG", ".png": "PNG"}.get(suffix)
        content = encoded(picture(start + number), kind) if kind else dicom(picture(start + number), PatientID=None)
        write(root / name, content)


def table(root: Path, name: str, *lines: str) -> None:
    write(root / name, "\n".join([*lines, ""]).encode())


def prepare(root: Path, **changes: Any) -> PreparedData:
    return preprocess(data_settings(root, **changes), 1, KEY, cache_folder=root.parent / "cache")


TEN = range(1, 21)


# ---- 23: which folders are classes -------------------------------------------------------------------------------


def rsna(root: Path) -> None:
    images(root, *(f"stage_2_train_images/{k:08x}.dcm" for k in TEN), "stage_2_test_images/aa.dcm")
    rows = [f"{k:08x},,,,,{k % 2}" for k in TEN] + [f"{1:08x},1,2,3,4,1"]
    table(root, "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", *rows)


def chexpert(root: Path) -> None:
    paths = [f"{'train' if k < 16 else 'valid'}/patient{k // 2:05}/study1/view{k % 2 + 1}_frontal.jpg" for k in TEN]
    images(root, *paths)
    for name in ("train", "valid"):
        rows = [f"CheXpert-v1.0-small/{p},Male,60,Frontal,AP,{('1.0,', ',1.0')[k % 4 > 1]},1.0" for k, p in zip(TEN, paths, strict=True) if p.startswith(name)]  # fmt: skip
        table(root, f"{name}.csv", "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Pneumonia,Support Devices", *rows)


def padchest(root: Path) -> None:
    images(root, *(f"{k % 2}/2168406955565866969{k:02}.png" for k in TEN))
    labels = ("['normal']", "['pneumonia', 'COPD signs']", "['exclude']", "['unchanged']")
    rows = [f'{k},2168406955565866969{k:02}.png,{k % 2},{k // 2},"{labels[k % 4]}"' for k in TEN]
    table(root, "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", ",ImageID,ImageDir,PatientID,Labels", *rows)


def vindr(root: Path) -> None:
    names = [f"{k:032x}" for k in TEN]
    images(root, *(f"{'train' if k < 15 else 'test'}/{name}.dicom" for k, name in zip(TEN, names, strict=True)))
    rows = [f"{name},R{r},{int(r <= k % 4)},0" for k, name in zip(TEN, names, strict=True) if k < 15 for r in (1, 2, 3)]
    table(root, "annotations/image_labels_train.csv", "image_id,rad_id,Pneumonia,No finding", *rows)
    rows = [f"{name},{k % 2},0" for k, name in zip(TEN, names, strict=True) if k >= 15]
    table(root, "annotations/image_labels_test.csv", "image_id,Pneumonia,No finding", *rows)


def mimic(root: Path) -> None:
    images(root, *(f"files/p10/p100000{k // 2:02}/s5{k:07}/{k:08x}.jpg" for k in TEN))
    rows = [f"100000{k // 2:02},5{k:07},{('1.0', '', '-1.0', '0.0')[k % 4]}" for k in TEN]
    table(root, "mimic-cxr-2.0.0-chexpert.csv", "subject_id,study_id,Pneumonia", *rows)
    rows = [f"{k:08x},5{k:07},100000{k // 2:02},{'test' if k > 15 else 'train'}" for k in TEN]
    table(root, "mimic-cxr-2.0.0-split.csv", "dicom_id,study_id,subject_id,split", *rows)


def nih_sample(root: Path) -> None:
    images(root, *(f"sample/images/{k // 2:08}_{k % 2:03}.png" for k in TEN))
    rows = [f"{k // 2:08}_{k % 2:03}.png,{('No Finding', 'effusion|Mass')[k % 4 > 1]},0,{k // 2}" for k in TEN]
    table(root, "sample_labels.csv", "Image Index,Finding Labels,Follow-up #,Patient ID", *rows)


def covid_radiography(root: Path) -> None:
    for name in ("COVID", "Normal"):
        images(root, *(f"{name}/{kind}/{name}-{k}.png" for k in TEN for kind in ("images", "masks")))


def with_beside(*others: str) -> Build:
    def build(root: Path) -> None:
        images(root, *(f"{name}/{k}.png" for k in TEN for name in ("NORMAL", "PNEUMONIA")))
        for other in others:
            write(root / other, b"%PDF-1.4" if not other.endswith("png") else encoded(picture(500 + len(other))))

    return build


def spelled(*names: str) -> Build:
    """Two classes, each spelled one way in train and another in test."""
    healthy, ill = names[:2], names[2:]
    return lambda root: images(
        root,
        *(
            f"{split}/{name[place]}/{k}.png"
            for place, split in enumerate(("test", "train"))
            for name in (healthy, ill)
            for k in range(10)
        ),
    )


def mask_files(root: Path) -> None:
    images(root, *(f"{name}/{k}{end}.png" for k in TEN for name in ("NORMAL", "TB") for end in ("", "_mask")))


# Title, how to build it, layout, outputs, images used, images positive in the first output.
READ: list[tuple[str, Build, str, tuple[str, ...], int, int]] = [
    ("RSNA", rsna, "RSNA", ("any",), 20, 10),
    ("CheXpert", chexpert, "CheXpert", ("any",), 20, 10),
    ("PadChest", padchest, "PadChest", ("any",), 15, 5),
    ("VinDr-CXR", vindr, "VinDr-CXR", ("any",), 20, 10),
    ("MIMIC-CXR-JPG", mimic, "MIMIC-CXR-JPG", ("any",), 15, 5),
    ("NIH sample of Kaggle", nih_sample, "NIH", ("any",), 20, 10),
    ("COVID-19 Radiography", covid_radiography, "class folders", ("COVID",), 40, 20),
    ("papers beside", with_beside("docs/paper.pdf", "README.md"), "class folders", ("PNEUMONIA",), 40, 20),
    ("labels beside", with_beside("labels/labels.csv"), "class folders", ("PNEUMONIA",), 40, 20),
    ("pictures of papers beside", with_beside("figures/1.png"), "class folders", ("PNEUMONIA",), 40, 20),
    ("a folder without images beside", with_beside("LUNG/readme.txt"), "class folders", ("PNEUMONIA",), 40, 20),
    ("masks beside the classes", with_beside("Lung Masks/1.png"), "class folders", ("PNEUMONIA",), 40, 20),
    ("masks as files", mask_files, "class folders", ("TB",), 40, 20),
    ("images without a label", with_beside("Unlabelled/1.png"), "class folders", ("PNEUMONIA",), 40, 20),
    ("images of unknown label", with_beside("unknown/1.png"), "class folders", ("PNEUMONIA",), 40, 20),
    (
        "one class in two cases",
        spelled("NORMAL", "normal", "PNEUMONIA", "Pneumonia"),
        "class folders with splits",
        ("PNEUMONIA",),
        40,
        20,
    ),
    (
        "one class with a space",
        spelled("NORMAL", "NORMAL ", "PNEUMONIA", " PNEUMONIA"),
        "class folders with splits",
        ("PNEUMONIA",),
        40,
        20,
    ),
    (
        "one class, composed and not",
        spelled("NORMAL", "NORMAL", "Neumon\u00eda", "Neumoni\u0301a"),
        "class folders with splits",
        ("Neumon\u00eda",),
        40,
        20,
    ),
    ("an empty class folder", with_beside("COVID/.keep"), "class folders", ("PNEUMONIA",), 40, 20),
]


@pytest.mark.parametrize(("_title", "build", "layout", "outputs", "used", "positive"), READ, ids=[r[0] for r in READ])
def test_layouts_are_read_as_what_they_are(
    _title: str, build: Build, layout: str, outputs: tuple[str, ...], used: int, positive: int, tmp_path: Path
) -> None:
    build(tmp_path / "set")
    listing = list_images(data_settings(tmp_path / "set"), 1)
    choice = choose_findings(listing, "auto")
    certain = [entry for entry in listing.entries if entry.classes or not entry.uncertain]
    assert (listing.layout, choice.findings, len(certain)) == (layout, outputs, used)
    assert sum(not choice.positive[0].isdisjoint(entry.classes) for entry in certain) == positive


def folders(*names: str) -> Build:
    return lambda root: images(root, *(f"{name}/{k}.png" for name in names for k in range(3)))


def without(build: Build, name: str) -> Build:
    def built(root: Path) -> None:
        build(root)
        (root / name).unlink()

    return built


# What is refused: title, how to build it, the words of the reason.
NOT_READ: list[tuple[str, Build, str]] = [
    ("RSNA without its table", without(rsna, "stage_2_train_labels.csv"), "looks like the RSNA"),
    ("PadChest without its table", without(padchest, "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"), "looks like PadChest"),
    ("MIMIC without its labels", without(mimic, "mimic-cxr-2.0.0-chexpert.csv"), "looks like MIMIC"),
    ("MIMIC without its splits", without(mimic, "mimic-cxr-2.0.0-split.csv"), "looks like MIMIC"),
    ("NIH's archives alone", lambda root: images(root, *(f"images_{k % 3 + 1:03}/images/{k:08}_000.png" for k in TEN)), "looks like NIH"),
    ("VinDr-CXR without annotations", lambda root: images(root, *(f"train/{k:032x}.dicom" for k in TEN)), "looks like VinDr"),
    ("CheXpert without its tables", lambda root: images(root, *(f"train/patient{k:05}/study1/view1_frontal.jpg" for k in TEN)), "looks like CheXpert"),
    ("patients as folders", folders("patient1", "patient2", "patient3"), "number patients"),
    ("studies as folders", folders("study_01", "study_02"), "number studies"),
    ("parts as folders", folders("part1", "part2"), "number parts"),
    ("archives as folders", folders("images_001", "images_002"), "parts"),
    ("UIDs as folders", folders("1.2.840.113.1.2", "1.2.840.113.1.3"), "number ids"),
    ("splits that are none", folders("train_images", "test_images"), "parts of a data set"),
    ("one class", folders("NORMAL"), "only the class 'NORMAL'"),
]  # fmt: skip


@pytest.mark.parametrize(("_title", "build", "reason"), NOT_READ, ids=[r[0] for r in NOT_READ])
def test_what_is_no_class_becomes_none(_title: str, build: Build, reason: str, tmp_path: Path) -> None:
    build(tmp_path / "set")
    with pytest.raises(DataError, match=reason):
        prepare(tmp_path / "set")


def edited(build: Build, name: str, old: str, new: str) -> Build:
    """A set whose table was changed in one place."""

    def built(root: Path) -> None:
        build(root)
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return built


def cut(build: Build, name: str, before: str) -> Build:
    """A set whose table ends before the last of some words, as after a download that broke off."""

    def built(root: Path) -> None:
        build(root)
        text = (root / name).read_text()
        (root / name).write_text(text[: text.rindex(before)])

    return built


NIH, RSNA, CHEXPERT, MIMIC = (
    "sample_labels.csv",
    "stage_2_train_labels.csv",
    "train.csv",
    "mimic-cxr-2.0.0-chexpert.csv",
)
# Tables that are damaged: title, how to build the set, the words of the reason.
DAMAGED: list[tuple[str, Build, str]] = [
    ("a quotation mark too many", edited(nih_sample, NIH, "effusion|Mass", '"effusion|Mass'), "inside a quoted field"),
    ("labels with commas", edited(nih_sample, NIH, "effusion|Mass", "effusion,Mass"), "more fields than its first line"),
    ("two columns of labels", edited(nih_sample, NIH, "Follow-up #", "finding labels"), "two columns 'Finding Labels'"),
    ("a line too short", edited(nih_sample, NIH, "_001.png,No Finding,0,0", "_001.png,No Finding"), "too short"),
    ("CheXpert, cut", cut(chexpert, CHEXPERT, ",Frontal"), "in the middle of a line"),
    ("MIMIC, cut", cut(mimic, MIMIC, ",1.0"), "in the middle of a line"),
]  # fmt: skip
# Rows that give no label, or two: title, how to build the set, the reason, how many images.
UNTRUE: list[tuple[str, Build, str, int]] = [
    ("RSNA, a target in words", edited(rsna, RSNA, "00000002,,,,,0", "00000002,,,,,maybe"), UNLABELED, 1),
    ("RSNA without a target", edited(rsna, RSNA, "00000002,,,,,0", "00000002,,,,,"), UNLABELED, 1),
    ("RSNA, a box without a target", edited(rsna, RSNA, "00000001,1,2,3,4,1", "00000001,1,2,3,4,x"), UNLABELED, 1),
    ("CheXpert, a mark of 2", edited(chexpert, CHEXPERT, "AP,1.0,,1.0", "AP,1.0,2,1.0"), UNLABELED, 1),
    ("CheXpert, columns out of place", edited(chexpert, CHEXPERT, "AP,1.0,,1.0", "AP,1.0,Male,1.0"), UNLABELED, 1),
    ("VinDr-CXR without a mark", edited(vindr, "annotations/image_labels_train.csv", "R2,1,0", "R2,,0"), UNLABELED, 1),
    ("MIMIC, a mark in words", edited(mimic, MIMIC, "50000004,1.0", "50000004,yes"), UNLABELED, 1),
    ("MIMIC, a study twice", edited(mimic, MIMIC, "10000002,50000004,1.0", "10000002,50000004,1.0\n10000002,50000004,0.0"), CONTRADICTED, 1),
    ("NIH without a label", edited(nih_sample, NIH, "00000001_001.png,effusion|Mass", "00000001_001.png,"), UNLABELED, 1),
    ("NIH, an image twice", edited(nih_sample, NIH, "00000001_001.png,effusion|Mass", "00000001_001.png,No Finding,0,1\n00000001_001.png,effusion|Mass"), CONTRADICTED, 1),
    ("NIH, of two patients", edited(nih_sample, NIH, "00000001_001.png,effusion|Mass", "00000001_001.png,effusion|Mass,0,9\n00000001_001.png,effusion|Mass"), CONTRADICTED, 1),
]  # fmt: skip


@pytest.mark.parametrize(("_title", "build", "reason"), DAMAGED, ids=[r[0] for r in DAMAGED])
def test_damaged_tables_are_refused(_title: str, build: Build, reason: str, tmp_path: Path) -> None:
    build(tmp_path / "set")
    with pytest.raises(DataError, match=reason):
        list_images(data_settings(tmp_path / "set"), 1)


@pytest.mark.parametrize(("_title", "build", "reason", "count"), UNTRUE, ids=[r[0] for r in UNTRUE])
def test_no_label_is_made_of_what_is_none(_title: str, build: Build, reason: str, count: int, tmp_path: Path) -> None:
    build(tmp_path / "set")
    listing = list_images(data_settings(tmp_path / "set"), 1)
    assert [item.reason for item in listing.left_out].count(reason) == count
    assert len(listing.entries) == 20 - count


def test_uncertain_labels_follow_the_setting(tmp_path: Path) -> None:
    mimic(tmp_path / "set")
    counts = {
        rule: (len(images.labels), int(images.labels.sum()))
        for rule in ("leave-out", "negative", "positive")
        for images in [_everything(prepare(tmp_path / "set", uncertain=rule))]
    }
    assert counts == {"leave-out": (15, 5), "negative": (20, 5), "positive": (20, 10)}


def _everything(data: PreparedData) -> Any:
    class All:
        labels = np.concatenate([getattr(p, s).labels for p in data.partitions for s in ("train", "val", "test")])

    return All


def test_vindr_keeps_its_splits_and_padchest_its_patients(tmp_path: Path) -> None:
    vindr(tmp_path / "vindr")
    assert prepare(tmp_path / "vindr").understood.given == ("train", "test")
    padchest(tmp_path / "padchest")
    assert set(prepare(tmp_path / "padchest").understood.patients_by) == {"the table's column PatientID"}


# ---- 24: which class is the finding ------------------------------------------------------------------------------

PAIRS = [
    ("healthy", "sick", "sick"), ("control", "case", "case"), ("benign", "malignant", "malignant"),
    ("clean", "tumor", "tumor"), ("uninfected", "infected", "infected"), ("No Pneumonia", "Pneumonia", "Pneumonia"),
    ("non-covid", "covid", "covid"), ("NonTB", "TB", "TB"), ("neg", "pos", "pos"), ("absent", "present", "present"),
    ("no", "yes", "yes"), ("False", "True", "True"), ("Clear", "Opacity", "Opacity"), ("Normal", "Abnormal", "Abnormal"),
    ("nofinding", "zz", "zz"), ("tuberculosis", "well", "tuberculosis"), ("0", "1", "1"), ("0_normal", "1_sick", "1_sick"),
    ("Effusion", "without effusion", "Effusion"), ("COVID-19 negative", "COVID-19 positive", "COVID-19 positive"),
    ("no_fracture", "fracture", "fracture"), ("UNAFFECTED", "AFFECTED", "AFFECTED"), ("Other", "Nodule", "Nodule"),
    ("gesund", "krank", "krank"), ("disease", "Healthy control", "disease"), ("-1", "1", "1"),
    ("pneumonia_free", "pneumonia", "pneumonia"), ("NORMAL", "zebra", "zebra"), ("abnormal", "NORMAL2", "abnormal"),
]  # fmt: skip
UNSURE = [
    ("A", "B"), ("bacteria", "virus"), ("COVID-19", "Viral Pneumonia"), ("normal", "negative"), ("1", "2"),
    ("left", "right"), ("AP", "PA"), ("hospital1x", "hospital2x"), ("sick", "ill"), ("male", "female"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "positive"), PAIRS)
def test_the_finding_of_two_is_what_the_words_say(first: str, second: str, positive: str) -> None:
    assert positive_of_two(first, second) == positive_of_two(second, first) == positive


@pytest.mark.parametrize(("first", "second"), UNSURE)
def test_where_words_do_not_say_the_user_is_asked(first: str, second: str) -> None:
    entries = tuple(Entry(f"{name}/1.png", (name,), "", None) for name in (first, second))
    classes = tuple(sorted((first, second)))
    listing = Listing("class folders", entries, classes, negative_class(classes), True)
    with pytest.raises(DataError, match="Which of the classes") as caught:
        choose_findings(listing, "auto")
    assert f"--positive {first!r}" in str(caught.value)
    assert f"--positive {second!r}" in str(caught.value)
    assert choose_findings(listing, first).class_names == (second, first)


def test_positive_and_finding_are_one_question() -> None:
    assert asked_finding("any", None) == "any"
    assert asked_finding(None, "sick") == "sick"
    for finding, positive in (("any", "sick"), (None, "any"), (None, " ")):
        with pytest.raises(UsageError):
            asked_finding(finding, positive)


# ---- 25: whose image is it ---------------------------------------------------------------------------------------


def by_header(*patients: str) -> Build:
    def build(root: Path) -> None:
        for number, patient in enumerate(patients):
            content = dicom(picture(number), PatientID=patient)
            write(root / ("NORMAL" if number % 2 else "SICK") / f"d{number}", content)

    return build


def by_path(pattern: str, count: int = 20, each: int = 2) -> Build:
    """`{p}` is the patient, `{n}` the image."""

    def build(root: Path) -> None:
        for patient in range(count):
            for number in range(each):
                name = pattern.format(p=patient, n=number)
                write(root / ("NORMAL" if patient % 2 else "SICK") / name, encoded(picture(100 * patient + number)))

    return build


# Title, how to build it, settings, patients, the way in which most are told.
PATIENTS: list[tuple[str, Build, dict[str, str], int, str]] = [
    ("folders of patients", by_path("patient{p:05}/study1/view{n}.png"), {}, 20, BY_FOLDER),
    ("folders of subjects", by_path("sub-{p}/ses-1/{n}.png"), {}, 20, BY_FOLDER),
    ("folders of numbers", by_path("{p:06}/{n}.png"), {}, 20, BY_FOLDER),
    ("folders of letters and numbers", by_path("JKX{p:03}/{n}.png"), {}, 20, BY_FOLDER),
    ("folders of studies", by_path("study{p}/{n}.png"), {}, 20, BY_STUDY),
    ("folders of years are none", by_path("20{p:02}/{n}.png"), {}, 40, BY_NOTHING),
    ("folders of parts are none", by_path("part{p}/{n}.png"), {}, 40, BY_NOTHING),
    ("names: patient12_1", by_path("patient{p}_{n}.png"), {}, 20, BY_NAME),
    ("names: sub-12_ses-1", by_path("sub-{p:02}_ses-{n}.png"), {}, 20, BY_NAME),
    ("names as Kaggle's", by_path("person{p}_virus_{n}.png"), {}, 20, BY_NAME),
    ("names that are dates are none", by_path("20{p:02}0115_00{n}.png"), {}, 40, BY_NOTHING),
    ("names that every export repeats", by_path("x{p}/IM-0001-000{n}.png", 20), {}, 20, BY_FOLDER),
    ("names repeated in nameless folders", by_path("{p:x}q/IM-0001-000{n}.png", 8), {}, 16, BY_NOTHING),
    ("headers", by_header(*(f"P{k // 2}" for k in range(40))), {}, 20, BY_HEADER),
    ("one word for all", by_header(*["ANONYMOUS"] * 40), {}, 40, BY_NOTHING),
    ("one number for all", by_header(*["4711"] * 40), {}, 40, BY_NOTHING),
    ("a word for half", by_header(*("Anon" if k < 20 else f"P{k}" for k in range(40))), {}, 40, BY_HEADER),
    ("a sign for all", by_header(*["-"] * 40), {}, 40, BY_NOTHING),
    ("1, 1.0 and 00000001", by_header(*((f"{k // 3}", f"{k // 3}.0", f"{k // 3:08}")[k % 3] for k in range(3, 45))), {}, 14, BY_HEADER),
    ("an expression", by_path("scan{p}x{n}.png"), {"patient_regex": r"scan(\d+)x"}, 20, BY_REGEX),
    ("an expression before headers", by_header(*["4711"] * 40), {"patient_regex": r"d(\d)"}, 10, BY_REGEX),
]  # fmt: skip


@pytest.mark.parametrize(("_title", "build", "changes", "patients", "way"), PATIENTS, ids=[r[0] for r in PATIENTS])
def test_patients_are_told_apart(
    _title: str, build: Build, changes: dict[str, str], patients: int, way: str, tmp_path: Path
) -> None:
    build(tmp_path / "set")
    data = prepare(tmp_path / "set", **changes)
    understood = data.understood
    assert understood.patients == patients
    assert max(understood.patients_by, key=lambda by: understood.patients_by[by]) == way
    assert bool(understood.patients_by.get(BY_NOTHING)) == any("of its own" in text for text in understood.warnings)
    assert data.manifest["patient_ids"]["told_by"] == dict(understood.patients_by)
    places: dict[str, set[str]] = {}
    for partition in data.partitions:
        for split in ("train", "val", "test"):
            for patient in getattr(partition, split).patients.tolist():
                places.setdefault(patient, set()).add(f"{partition.hospital} {split}")
    assert all(len(found) == 1 for found in places.values())


@pytest.mark.parametrize(
    "text",
    [
        "image,patient\n{rows}", "file;patient_id\n{semicolons}", "\ufeffPath,Subject ID\n{rows}",
        "patient,image\n{turned}", "filename,age,PatientID\n{three}",
    ],
)  # fmt: skip
def test_a_table_of_patients_goes_before_all_else(text: str, tmp_path: Path) -> None:
    by_header(*(f"P{k}" for k in range(40)))(tmp_path / "set")
    names = [(f"{'NORMAL' if k % 2 else 'SICK'}/d{k}" if k < 20 else f"d{k}", f"Q{k // 4}") for k in range(40)]
    filled = text.format(
        rows="\n".join(f"{image},{patient}" for image, patient in names),
        semicolons="\n".join(f"{image};{patient}" for image, patient in names),
        turned="\n".join(f"{patient},{image}" for image, patient in names),
        three="\n".join(f"{image},60,{patient}" for image, patient in names),
    )
    patients = write(tmp_path / "p.csv", filled.encode())
    understood = prepare(tmp_path / "set", patients=str(patients)).understood
    assert (understood.patients, understood.patients_by) == (10, {BY_FILE: 40})
    write(tmp_path / "p.csv", filled.encode()[: len(filled) // 2])
    with pytest.raises(DataError, match=r"names no patient for|in the middle of a line"):
        prepare(tmp_path / "set", patients=str(patients))


def test_expressions_that_say_nothing_are_refused(tmp_path: Path) -> None:
    by_header(*(f"P{k}" for k in range(8)))(tmp_path / "set")
    for pattern, kind in (("(", UsageError), ("nogroup", UsageError), ("(never)", DataError)):
        with pytest.raises(kind, match="--patient-regex"):
            prepare(tmp_path / "set", patient_regex=pattern)


def test_ids_are_equal_however_a_table_program_wrote_them() -> None:
    assert len({same_id(text) for text in ("7", "7.0", "0007", " 7 ", "7.00", "07.")}) == 1
    assert len({same_id(text) for text in ("7", "70", "7a", "7.5", "0.7", "P7")}) == 6


def test_one_picture_under_two_labels_is_not_trained_on(tmp_path: Path) -> None:
    root = tmp_path / "set"
    with_beside()(root)
    for k in range(5):
        write(root / "PNEUMONIA" / f"copy{k}.png", (root / "NORMAL" / f"{k + 1}.png").read_bytes())
    data = prepare(root)
    assert data.manifest["images"] == 35
    assert data.understood.left_out == {"images that are there again under another label": 10}
    assert prepare(root, contradictions="keep").manifest["images"] == 45


# ---- 26: nothing is left out in silence --------------------------------------------------------------------------


def loose_link(root: Path) -> None:
    (root / "NORMAL" / "out.png").symlink_to(write(root.parent / "outside.png", encoded(picture(900))))


def linked_folder(root: Path) -> None:
    (root / "NORMAL" / "more").symlink_to(root.parent)


def dead_link(root: Path) -> None:
    (root / "NORMAL" / "dead.png").symlink_to(root / "NORMAL" / "dead.png")


def splits(root: Path) -> None:
    for name in ("NORMAL", "PNEUMONIA"):
        (root / "train").mkdir(exist_ok=True)
        (root / name).rename(root / "train" / name)
    images(root, *(f"test/{name}/{k}.png" for name in ("NORMAL", "PNEUMONIA") for k in range(4)))
    images(root, "extra/NORMAL/1.png")


# Title, what is added to two class folders, the reason that is told and how often.
LEFT_OUT: list[tuple[str, Build, str, int]] = [
    ("a link out", loose_link, "links that lead out of the folder", 1),
    ("a linked folder", linked_folder, "links to folders, which are not followed", 1),
    ("a link to itself", dead_link, "links that lead nowhere", 1),
    ("a pipe", lambda root: os.mkfifo(root / "NORMAL" / "pipe.png"), "pipes, sockets and devices", 1),
    ("hidden files", lambda root: write(root / "NORMAL" / ".x.png", b"x"), "hidden and system files", 1),
    ("raw pixels", lambda root: write(root / "NORMAL" / "1.img", b"x" * 99), "files (its format is not read here (.img))", 1),
    ("a truncated image", lambda root: write(root / "NORMAL" / "t.png", encoded(picture(1))[:90]), "files (it is damaged or truncated)", 1),
    ("an empty file", lambda root: write(root / "NORMAL" / "t.png", b""), "files (the file is empty)", 1),
    ("a text among images", lambda root: write(root / "NORMAL" / "a.txt", b"x"), "files (it is no image, nor named like one)", 1),
    ("loose images", lambda root: images(root, "1.png", "2.png"), "images outside any class folder", 2),
    ("loose files", lambda root: write(root / "README.md", b"x"), "other files beside the class folders", 1),
    ("folders beside splits", splits, "folders beside the splits", 1),
    ("masks", lambda root: images(root, "NORMAL/masks/1.png"), "folders of masks", 1),
    ("a report", lambda root: write(root / "NORMAL" / "sr", dicom(picture(1), "1.2.840.10008.5.1.4.1.1.88.67", PixelData=None)), "files (it is DICOM without a picture: a structured report)", 1),
    ("a presentation state", lambda root: write(root / "NORMAL" / "pr", dicom(picture(1), "1.2.840.10008.5.1.4.1.1.11.1", PixelData=None)), "files (it is DICOM without a picture: a presentation state)", 1),
]  # fmt: skip


@pytest.mark.parametrize(("_title", "add", "reason", "count"), LEFT_OUT, ids=[r[0] for r in LEFT_OUT])
def test_what_is_left_out_is_told(_title: str, add: Build, reason: str, count: int, tmp_path: Path) -> None:
    root = tmp_path / "set"
    with_beside()(root)
    add(root)
    data = prepare(root)
    assert data.understood.left_out == {reason: count}
    assert f"{count} {reason}" in data.understood.left_out_line()
    assert data.manifest["left_out"] == {reason: count}
    listed: Any = data.report["left_out"]
    assert len(listed) == count
    assert all(item["name"] and item["reason"] for item in listed)


def test_further_frames_are_told(tmp_path: Path) -> None:
    root = tmp_path / "set"
    with_beside()(root)
    write(root / "NORMAL" / "two", dicom(np.stack([picture(700), picture(701)]), NumberOfFrames=2, PatientID=None))
    data = prepare(root)
    assert data.understood.partly == {"frames beyond the first": 1}
    assert "frames beyond the first" in data.understood.left_out_line()
    listed: Any = data.report["partly_used"]
    assert listed == [{"name": "NORMAL/two", "reason": "frames beyond the first"}]


def test_a_class_of_which_nothing_can_be_read_is_not_dropped(tmp_path: Path) -> None:
    images(tmp_path / "set", *(f"{name}/{k}.png" for name in ("NORMAL", "PNEUMONIA") for k in TEN))
    write(tmp_path / "set" / "NODULE" / "1.img", b"x" * 99)
    with pytest.raises(DataError, match=r"None of the 1 files of the class 'NODULE' .*\.img"):
        prepare(tmp_path / "set")


def test_a_folder_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root opens every folder, so the system's refusal is played."""
    root, opened = tmp_path / "set", os.scandir
    with_beside("NORMAL/closed/1.png")(root)

    def refuse_closed(folder: str) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
        return opened(folder)

    monkeypatch.setattr(os, "scandir", refuse_closed)
    assert prepare(root).understood.left_out == {"folders that cannot be opened": 1}


def test_counts_are_told_the_commonest_first() -> None:
    listing = list_images(data_settings("synthetic", synthetic_images=60), 1)
    assert told(listing.left_out) == ""


# ---- 27: shown before training -----------------------------------------------------------------------------------


def test_dry_run_shows_what_was_understood_and_writes_nothing(tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "out"
    with_beside("docs/a.pdf")(root)
    by_path("patient{p}_{n}.png")(tmp_path / "other")
    command = [
        sys.executable,
        str(ROOT / "data_preprocessing.py"),
        str(root),
        str(out),
        "--hospitals",
        "2",
        "--dry-run",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "200"})
    assert not out.exists()
    for words in (
        "PNEUMONIA: 20 images (positive)",
        "Patients",
        "each image counts",
        "carved by patient",
        "1 folders whose name",
    ):
        assert words in done.stdout, words
    simulate = [sys.executable, str(ROOT / "main.py"), "simulate", "--data", str(root), "--out", str(out), "--dry-run"]
    done = subprocess.run(simulate, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "200"})
    assert not out.exists()
    assert "PNEUMONIA: 20 images (positive)" in done.stdout
