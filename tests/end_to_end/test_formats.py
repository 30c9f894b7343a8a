"""The same command on every layout that `--data` recognizes, each a whole federation."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from test_simulate import read_summary

pytestmark = pytest.mark.end_to_end
ROOT = Path(__file__).resolve().parents[2]
ONE_ROUND = ("--rounds", "1", "--local-epochs", "1", "--hospitals", "2")


def simulate(out: Path, *arguments: str) -> dict[str, dict[str, object]]:
    command = [sys.executable, "main.py", "simulate", *ONE_ROUND, *arguments, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    summary = read_summary(out)
    assert summary["rounds"]["opened"] == 1
    assert summary["ledger"]["submissions"] == 2
    return summary


@pytest.mark.real_data
def test_nih_with_all_findings(real_data: Path, tmp_path: Path) -> None:
    summary = simulate(tmp_path / "run", "--data", str(real_data / "nih_chestxray14"), "--finding", "all")
    assert summary["model"]["parameters"] == 97_521 + 13 * 129


@pytest.mark.real_data
def test_a_handful_of_full_size_images(real_data: Path, tmp_path: Path) -> None:
    simulate(tmp_path / "run", "--data", str(real_data / "originals"))


def test_dicom_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for label, level in (("normal", 500), ("effusion", 1500)):
        for index in range(12):
            folder = tmp_path / "dicom" / label
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.normal(level, 100, (48, 40)).clip(0, 4095).astype(np.uint16)
            write_dicom(folder / f"{label}-{index}.dcm", pixels, f"{label}{index}", monochrome1=index % 2 == 1)
    simulate(tmp_path / "run", "--data", str(tmp_path / "dicom"))
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
