"""Plants names wherever files can carry them, then looks for them in every byte that the stage puts out."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sample_images import KEY, data_settings, dicom, encoded, nih_folder, picture, write

from data_preprocessing import PreparedData, load_partition, preprocess, select_split, write_partitions
from fedward.dataset.anonymization import pseudonymize
from fedward.dataset.records import Entry, ImageTable

PLANTED = ["Zacharias", "Quimby", "ZQ-4711", "19610412", "Saint-Elsewhere", "00008899", "person8899"]


def planted_folder(root: Path) -> Path:
    """Class folders whose file names, EXIF, PNG texts, comments and DICOM headers all name somebody."""
    for index in range(24):
        exif = Image.Exif()
        exif[0x013B], exif[0x010E] = "Zacharias Quimby", "ZQ-4711 at Saint-Elsewhere"
        texts = PngInfo()
        texts.add_text("Patient", "Quimby^Zacharias 19610412")
        folder = root / ("NORMAL" if index % 2 else "SICK")
        pixels = picture(index)
        write(folder / f"Quimby_Zacharias_{index}.jpg", encoded(pixels, "JPEG", exif=exif, comment=b"Saint-Elsewhere"))
        write(folder / f"person8899{index}_virus_1.png", encoded(picture(100 + index), "PNG", pnginfo=texts, exif=exif))
        header: dict[str, Any] = {
            "PatientID": f"ZQ-4711-{index}", "PatientName": "Quimby^Zacharias", "PatientBirthDate": "19610412",
            "InstitutionName": "Saint-Elsewhere", "ReferringPhysicianName": "Quimby", "BurnedInAnnotation": "YES",
        }  # fmt: skip
        write(folder / f"scan{index}-ZQ-4711.dcm", dicom(picture(200 + index).astype(np.uint16), **header))
    return root


def bytes_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        yield path.name, path.name.encode()
        if path.is_file():
            yield path.name, path.read_bytes()


def named_in(content: bytes) -> set[str]:
    """The planted names that are in some bytes, as they are or as NumPy and Windows write them."""
    return {
        name
        for name in PLANTED
        for form in (name.encode(), name.encode("utf-16-le"), name.encode("utf-32-le"), name.lower().encode())
        if form in content
    }


def assert_clean(where: str, content: bytes) -> None:
    assert not named_in(content), f"{named_in(content)} in {where}"


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedData:
    return preprocess(data_settings(planted_folder(tmp_path / "data")), 1, KEY, cache_folder=tmp_path / "cache")


def test_the_search_finds_names_where_they_are(prepared: PreparedData, tmp_path: Path) -> None:
    """Else nothing that follows means anything: in the source, and in outputs if the stage had let one through."""
    carriers: dict[str, set[str]] = {}
    for name, content in bytes_of(tmp_path / "data"):
        carriers.setdefault(Path(name).suffix, set()).update(named_in(content))
    assert set.union(*carriers.values()) == set(PLANTED) - {"00008899"}  # which is in an NIH folder, below
    assert carriers[".dcm"] >= {"Quimby", "ZQ-4711", "19610412", "Saint-Elsewhere"}
    assert carriers[".jpg"] >= {"Zacharias", "Quimby", "ZQ-4711", "Saint-Elsewhere"}
    assert carriers[".png"] >= {"Zacharias", "Quimby", "ZQ-4711", "19610412"}
    first = prepared.partitions[0]
    patients = first.val.patients.copy()
    patients[-1] = "Quimby^Zacharias"
    leaking = dataclasses.replace(first, val=dataclasses.replace(first.val, patients=patients))
    write_partitions(
        tmp_path / "out",
        dataclasses.replace(
            prepared,
            partitions=(leaking, *prepared.partitions[1:]),
            manifest=prepared.manifest | {"source": "Saint-Elsewhere"},
            report=prepared.report | {"files": ["person8899.png"]},
        ),
    )
    found = {name: named_in(content) for name, content in bytes_of(tmp_path / "out") if named_in(content)}
    assert found == {
        "hospital-1.npz": {"Quimby", "Zacharias"},
        "manifest.json": {"Saint-Elsewhere"},
        "report.json": {"person8899"},
    }


def test_no_planted_name_is_in_any_output_byte(prepared: PreparedData, tmp_path: Path) -> None:
    write_partitions(tmp_path / "out", prepared)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"hospital-1.npz", "hospital-2.npz", "manifest.json", "report.json"}
    for folder in ("out", "cache"):
        for where, content in bytes_of(tmp_path / folder):
            assert_clean(f"{folder}/{where}", content)
    for partition in prepared.partitions:
        assert len(load_partition(tmp_path / "out" / f"{partition.hospital}.npz").train) == len(partition.train)


def test_manifest_does_not_name_the_source_folder(tmp_path: Path) -> None:
    data = preprocess(data_settings(planted_folder(tmp_path / "Quimby")), 1, KEY)
    assert_clean("manifest", json.dumps(data.manifest).encode())


def test_report_says_what_was_dropped_in_kinds_and_counts(prepared: PreparedData) -> None:
    dropped = prepared.report["dropped"]
    assert isinstance(dropped, dict)
    assert dropped["file names"] == 72
    assert dropped["EXIF fields"] == 2 * 24 * 2
    assert dropped["text fields"] >= 48
    assert dropped["DICOM patient fields"] == 3 * 24
    assert dropped["DICOM other header fields"] > 24
    assert prepared.report["declared_text_in_pixels"] == 24


def test_nih_table_leaves_nothing_but_labels(tmp_path: Path) -> None:
    rows = [
        (f"00008899_{n:03d}{p}.png", "Mass" if p % 2 else "No Finding", f"ZQ-4711-{p}", "PA")
        for p in range(12)
        for n in range(2)
    ]
    source = nih_folder(tmp_path / "data", rows)
    found = {name: named_in(content) for name, content in bytes_of(source)}
    assert found["Data_Entry_2017.csv"] == {"00008899", "ZQ-4711"}
    data = preprocess(data_settings(source), 1, KEY, cache_folder=tmp_path / "cache")
    write_partitions(tmp_path / "out", data)
    for folder in ("out", "cache"):
        for where, content in bytes_of(tmp_path / folder):
            assert_clean(f"{folder}/{where}", content)


def test_only_unreadable_files_are_named_and_only_in_the_report(tmp_path: Path) -> None:
    planted_folder(tmp_path / "data")
    write(tmp_path / "data" / "SICK" / "Quimby.png", b"rotten")
    data = preprocess(data_settings(tmp_path / "data"), 1, KEY)
    assert "SICK/Quimby.png" in json.dumps(data.report)
    assert "stays at the hospital" in str(data.report["note"])
    assert_clean("manifest", json.dumps(data.manifest).encode())


def test_pseudonyms_are_keyed_stable_and_equal_for_one_patient_only() -> None:
    entries = tuple(Entry(str(row), (), patient, None) for row, patient in enumerate(["a", "b", "a", "", ""]))
    digests = np.arange(5 * 32, dtype=np.uint8).reshape(5, 32)
    table = ImageTable(entries, np.zeros((5, 8, 8), np.uint8), digests, (), (), {}, 0)
    first, again, other = pseudonymize(table, KEY), pseudonymize(table, KEY), pseudonymize(table, KEY[::-1])
    assert first.tolist() == again.tolist()
    assert first[0] == first[2]
    assert len(set(first.tolist())) == 4
    assert not set(first.tolist()) & set(other.tolist())
    assert all(len(name) == 16 for name in first.tolist())


def test_order_of_images_does_not_follow_file_names(tmp_path: Path) -> None:
    """The same pictures under other names, in other name order, without ids: the same partitions."""
    for name, order in (("one", range(40)), ("two", reversed(range(40)))):
        for position, index in enumerate(order):
            folder = tmp_path / name / "train" / ("no" if index % 2 else "yes")
            write(folder / f"{position:03d}.png", encoded(picture(index)))
    parts = [select_split(data_settings(tmp_path / name, test_share=0.3), 1, "all") for name in ("one", "two")]
    assert np.array_equal(parts[0].images, parts[1].images)
