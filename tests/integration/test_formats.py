"""A round and its conclusion on the layouts that `--data` recognizes, beside class folders and drawn images."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from federation import founded
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from commands.simulate.conclusion import conclude
from fedward.tables import Scalar
from fedward.timing import Stopwatch


def federate(path: Path, source: Path, *overrides: tuple[str, Scalar]) -> dict[str, Any]:
    """What a round of two hospitals on these images, and its conclusion, leave in `summary.json`."""
    with founded(path, ("data.source", str(source)), ("data.hospitals", 2), *overrides) as federation:
        assert federation.lead_round()["phase"] == "accepted"
        summary = conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())
    assert summary["rounds"]["opened"] == 1
    assert summary["ledger"]["submissions"] == 2
    return summary


@pytest.mark.real_data
def test_nih_with_all_findings(real_data: Path, tmp_path: Path) -> None:
    summary = federate(tmp_path / "run", real_data / "nih_chestxray14", ("data.finding", "all"))
    assert summary["model"]["parameters"] == 97_521 + 13 * 129


@pytest.mark.real_data
def test_a_handful_of_full_size_images(real_data: Path, tmp_path: Path) -> None:
    federate(tmp_path / "run", real_data / "originals")


def test_dicom_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for label, level in (("normal", 500), ("effusion", 1500)):
        for index in range(12):
            folder = tmp_path / "dicom" / label
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.normal(level, 100, (48, 40)).clip(0, 4095).astype(np.uint16)
            write_dicom(folder / f"{label}-{index}.dcm", pixels, f"{label}{index}", monochrome1=index % 2 == 1)
    federate(tmp_path / "run", tmp_path / "dicom")
    written = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert b"SURNAME" not in written


def write_dicom(
    path: Path, pixels: "np.ndarray[tuple[int, int], np.dtype[np.uint16]]", patient: str, monochrome1: bool
) -> None:
    """A small digital radiograph of 12 bits."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.Modality, image.PatientID, image.PatientName = "DX", patient, f"SURNAME^{patient}"
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.BitsAllocated, image.BitsStored, image.HighBit = 1, 16, 12, 11
    image.PixelRepresentation = 0
    image.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    image.PixelData = (4095 - pixels if monochrome1 else pixels).astype("<u2").tobytes()
    pydicom.dcmwrite(path, image, enforce_file_format=True)
