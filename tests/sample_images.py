"""Makes small image files of every kind, on the fly; no two pictures are alike unless asked for."""

import dataclasses
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedward.settings import DataSettings, load

KEY = b"a key for tests, 32 bytes long.."
CR = "1.2.840.10008.5.1.4.1.1.1"
MR = "1.2.840.10008.5.1.4.1.1.4"


def data_settings(source: Path | str, **changes: Any) -> DataSettings:
    """The default settings with a small image size, and some changed."""
    values: dict[str, Any] = {"source": str(source), "image_size": 16, "hospitals": 2}
    return dataclasses.replace(load().data, **(values | changes))


def picture(seed: int, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """Smooth random grey values that use the whole range from 0 to 255."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    stretched = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255
    pixels: NDArray[np.uint8] = np.rint(stretched).astype(np.uint8)
    return pixels


def encoded(pixels: NDArray[Any], kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """Pixels as the bytes of an image file."""
    image = Image.fromarray(pixels)
    buffer = BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    """Write a file, making its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def dicom(pixels: NDArray[Any], sop_class: str = CR, implicit: bool = False, **fields: Any) -> bytes:
    """Pixels as the bytes of a DICOM file; fields by keyword, None takes one out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = pixels.dtype.itemsize * 8
    values: dict[str, Any] = {
        "SOPClassUID": sop_class, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "MR" if sop_class == MR else "CR", "PatientID": "P1", "PatientName": "Doe^Jane",
        "PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1, "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1], "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }  # fmt: skip
    for name, value in (values | fields).items():
        if value is not None:
            setattr(header, name, value)
    if fields.get("PixelData", b"") is not None:
        header.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
        header["PixelData"].VR = "OW" if bits > 8 else "OB"
    buffer = BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def lookup_table(entries: list[int]) -> Dataset:
    """A VOI LUT of 8-bit entries for stored values from 0."""
    table = Dataset()
    table.LUTDescriptor = [len(entries), 0, 8]
    table.LUTData = entries
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "US"
    return table


def class_folders(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """`counts` maps a folder such as `train/NORMAL` to a number of PNG files with distinct pictures."""
    for index, (folder, count) in enumerate(counts.items()):
        for number in range(count):
            name = f"{folder.replace('/', '-')}-{number}.png"
            write(root / folder / name, encoded(picture(seed + 1000 * index + number)))
    return root


def nih_folder(root: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """Rows of image name, findings, patient id and view position, with a picture for each."""
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    lines = [f"{name},{labels},0,{patient},50,F,{view}" for name, labels, patient, view in rows]
    write(root / "Data_Entry_2017.csv", "\n".join([header, *lines, ""]).encode())
    for index, (name, *_) in enumerate(rows):
        write(root / "images" / name, encoded(picture(index)))
    return root
