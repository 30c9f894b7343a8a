"""DICOM pixels against formulas of the standard written out by hand."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian
from sample_images import MR, dicom, lookup_table, picture

from fedward.dataset.dicom import decode_dicom, is_dicom, patient_id
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.reading import decode

STORED = (picture(2).astype(np.uint16) * 16).astype(np.uint16)  # 12 bits


def grey_of(content: bytes) -> np.ndarray:
    return decode_dicom(content).grey.astype(np.float64)


def test_rescale_and_linear_window_follow_the_standard() -> None:
    content = dicom(STORED, RescaleSlope="2", RescaleIntercept="-1000", WindowCenter="1500", WindowWidth="2000")
    values = STORED.astype(np.float64) * 2 - 1000
    expected = np.clip(((values - (1500 - 0.5)) / (2000 - 1) + 0.5), 0, 1) * 255
    assert np.allclose(grey_of(content), expected, atol=1e-3)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_other_window_functions(function: str) -> None:
    content = dicom(STORED, WindowCenter="2000", WindowWidth="1000", VOILUTFunction=function)
    steps = (STORED.astype(np.float64) - 2000) / 1000
    expected = np.clip(steps + 0.5, 0, 1) if function == "LINEAR_EXACT" else 1 / (1 + np.exp(-4 * steps))
    assert np.allclose(grey_of(content), expected * 255, atol=1e-3)


def test_first_of_several_windows_is_taken() -> None:
    several = grey_of(dicom(STORED, WindowCenter=["1500", "10"], WindowWidth=["2000", "3"]))
    assert np.array_equal(several, grey_of(dicom(STORED, WindowCenter="1500", WindowWidth="2000")))


@pytest.mark.parametrize("window", [{}, {"WindowCenter": "1500", "WindowWidth": "2000"}])
def test_monochrome1_is_the_negative_of_monochrome2(window: dict[str, Any]) -> None:
    plain = grey_of(dicom(STORED, **window))
    inverted = grey_of(dicom(STORED, PhotometricInterpretation="MONOCHROME1", **window))
    assert np.allclose(inverted, 255 - plain, atol=1e-3)


def test_mr_without_window_uses_its_own_range_signed_too() -> None:
    signed = STORED.astype(np.int16) - 2000
    grey = grey_of(dicom(signed, MR, implicit=True))
    assert (grey.min(), grey.max()) == (0, 255)
    assert np.allclose(grey, (signed - signed.min()) / (signed.max() - signed.min()) * 255, atol=1e-3)


def test_padding_does_not_widen_the_range() -> None:
    padded = (STORED // 2 + 1000).astype(np.uint16)
    padded[:4] = 0
    content = dicom(padded, PixelPaddingValue=0)
    inside = padded[4:].astype(np.float64)
    assert np.allclose(grey_of(content)[4:], (inside - inside.min()) / np.ptp(inside) * 255, atol=1e-3)
    assert (grey_of(content)[:4] == 0).all()


def test_voi_lut_sequence_is_looked_up() -> None:
    small = (picture(3) // 16).astype(np.uint16)
    entries = [255 - 16 * index for index in range(16)]
    grey = grey_of(dicom(small, VOILUTSequence=[lookup_table(entries)]))
    assert np.allclose(grey, np.array(entries)[small], atol=1e-3)


def test_first_frame_and_color() -> None:
    frames = np.stack([STORED, STORED[::-1]])
    assert np.allclose(grey_of(dicom(frames, NumberOfFrames="2")), grey_of(dicom(STORED)), atol=1e-3)
    one = picture(4)
    color = np.dstack([one, one, one])
    content = dicom(
        color, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0, Rows=24, Columns=32
    )
    assert np.abs(grey_of(content) - one).max() < 1


def test_preamble_is_not_needed() -> None:
    content = dicom(STORED, implicit=True)
    meta_bytes = struct.unpack("<I", content[140:144])[0]
    bare = content[144 + meta_bytes :]
    assert is_dicom(bare)
    assert np.array_equal(grey_of(bare), grey_of(content))


def test_patient_id_and_what_is_dropped() -> None:
    content = dicom(STORED, PatientID=" ABC ", PatientBirthDate="19700101", BurnedInAnnotation="YES")
    found = decode_dicom(content)
    assert found.patient == patient_id(content) == "ABC"
    assert found.dropped["DICOM patient fields"] == 3
    assert found.burned_in
    assert decode(content, 16).patient == "ABC"


def test_the_deflated_transfer_syntax_reads_alike() -> None:
    assert np.array_equal(grey_of(deflated()), grey_of(dicom(STORED)))
    with pytest.raises(UnreadableImageError, match="truncated"):
        grey_of(deflated()[:-40])


def deflated() -> bytes:
    header = pydicom.dcmread(BytesIO(dicom(STORED)))
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = BytesIO()
    header.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (dicom(STORED, PixelData=None), "without an image"),
        (dicom(STORED)[:-200], "damaged or truncated"),
        (dicom(STORED)[:200], "damaged|without an image"),
        (dicom(STORED)[:132], "damaged|without an image"),
        (dicom(STORED, Rows=60000, Columns=60000), "pixels"),
        (dicom(STORED, Rows=None), "damaged"),
        (dicom(STORED, BitsAllocated=13), "number of bits"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damage_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode(content, 16)
