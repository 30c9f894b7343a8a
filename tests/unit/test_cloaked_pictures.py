"""Pictures that are changed and written again: same values where unchanged, same reading, no word of a header."""

from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless
from sample_images import CR, dicom, encoded, lookup_table, picture

from fedward.cloaking.carrying import carry
from fedward.cloaking.pictures import Picture, grey_of, square_of
from fedward.cloaking.protecting import open_picture
from fedward.dataset.dicom import stored_values
from fedward.dataset.problems import UnreadableImageError

SMOOTH = picture(5, 90, 120)
TWELVE = (SMOOTH.astype(np.uint16) * 16 + 5).astype(np.uint16)
SIXTEEN = (SMOOTH.astype(np.uint16) * 256 + 77).astype(np.uint16)
SIGNED = (TWELVE.astype(np.int16) - 2000).astype(np.int16)


def padded_picture() -> np.ndarray:
    values = TWELVE.copy()
    values[:9] = 0
    return values


DICOMS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "8 bits": (SMOOTH, {}),
    "8 bits inverted": (SMOOTH, {"PhotometricInterpretation": "MONOCHROME1"}),
    "12 bits": (TWELVE, {"BitsStored": 12, "HighBit": 11}),
    "12 bits inverted": (TWELVE, {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"}),
    "16 bits": (SIXTEEN, {}),
    "16 bits inverted": (SIXTEEN, {"PhotometricInterpretation": "MONOCHROME1"}),
    "signed": (SIGNED, {"RescaleSlope": "2", "RescaleIntercept": "-1000.5"}),
    "window": (TWELVE, {"WindowCenter": "2000", "WindowWidth": "2500", "PhotometricInterpretation": "MONOCHROME1"}),
    "two windows": (TWELVE, {"WindowCenter": ["2000", "9"], "WindowWidth": ["2500", "3"]}),
    "sigmoid": (TWELVE, {"WindowCenter": "2000", "WindowWidth": "2500", "VOILUTFunction": "SIGMOID"}),
    "table": (SMOOTH.astype(np.uint16), {"VOILUTSequence": [lookup_table([i // 2 + 64 for i in range(256)])]}),
    "padding": (padded_picture(), {"PixelPaddingValue": 0}),
    "shutter": (
        TWELVE,
        {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 9, "ShutterRightVerticalEdge": 100,
         "ShutterUpperHorizontalEdge": 7, "ShutterLowerHorizontalEdge": 80},
    ),
}  # fmt: skip


def sixteen_bit_png(values: np.ndarray, significant: bool = False) -> bytes:
    facts = PngInfo()
    if significant:
        facts.add(b"sBIT", b"\x10")
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG", pnginfo=facts)
    return buffer.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image)


def other_square(shown: Picture, seed: int = 0, size: int = 16, most: float = 6.0) -> np.ndarray:
    """What a picture is read as, with a change of every pixel."""
    now = square_of(shown.write(shown.values, "cloaked"), size).astype(np.float32)
    change = np.random.default_rng(seed).choice([-most, most], now.shape)
    return np.clip(now + change, 0, 255).astype(np.float32)


@pytest.mark.parametrize("name", DICOMS)
def test_dicom_keeps_its_values_depth_and_reading(name: str) -> None:
    values, fields = DICOMS[name]
    content = dicom(values, CR, **fields)
    before, header = stored_values(content)
    shown = open_picture(content)
    for role in ("original", "cloaked", "restored"):
        after, again = stored_values(shown.write(shown.values, role))
        assert np.array_equal(before.values, after.values)
        for keyword in ("BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation", "Rows"):
            assert header[keyword].value == again[keyword].value
        assert list(again.ImageType) == ["DERIVED", "SECONDARY"]
        assert again.DerivationDescription
        assert np.allclose(grey_of(content), grey_of(shown.write(shown.values, role)), atol=1e-3)


@pytest.mark.parametrize("name", DICOMS)
def test_a_carried_change_is_read_from_the_written_dicom(name: str) -> None:
    values, fields = DICOMS[name]
    content = dicom(values, CR, **fields)
    shown = open_picture(content)
    wanted = other_square(shown)
    moved = carry(shown, wanted, 12.0)
    got = square_of(shown.write(moved, "cloaked"), 16).astype(np.float32)
    now = square_of(content, 16).astype(np.float32)
    change = np.abs(shown.shows(moved) - shown.grey)
    assert change.max() <= 12.0 + np.abs(np.diff(shown.shown)).max()
    assert np.array_equal(moved[~shown.free], shown.values[~shown.free])
    # What padding, shutters and windows cover cannot change; where everything may, nearly all of the change arrives.
    share = float(((got - now) * (wanted - now)).sum() / ((wanted - now) ** 2).sum())
    assert share > (0.9 if shown.free.mean() > 0.99 else 0.5)
    # The rest of the picture shows by the same rule as before.
    assert np.abs(grey_of(shown.write(moved, "cloaked")) - shown.shows(moved)).max() < 0.02


def test_the_least_and_the_largest_value_stay_since_all_others_show_by_them() -> None:
    """Without a window, grey follows from the range that an image uses."""
    values = TWELVE.copy()
    values.flat[SMOOTH.argmin()], values.flat[SMOOTH.argmax()] = 0, 4095  # one pixel each, where change goes inward
    shown = open_picture(dicom(values, CR, BitsStored=12, HighBit=11))
    inward = np.full((16, 16), 128.0, np.float32)
    moved = carry(shown, inward, 60.0)
    assert (moved.min(), moved.max()) == (0, 4095)
    assert np.abs(moved.astype(int) - values).max() > 500
    assert np.abs(grey_of(shown.write(moved, "cloaked")) - shown.shows(moved)).max() < 0.02


def test_what_padding_and_shutter_cover_stays() -> None:
    values, fields = DICOMS["padding"]
    assert not open_picture(dicom(values, CR, **fields)).free[:9].any()
    values, fields = DICOMS["shutter"]
    shutter = open_picture(dicom(values, CR, **fields))
    assert not shutter.free[:5].any()
    assert shutter.free[10:70, 20:90].mean() > 0.99
    window = open_picture(dicom(*DICOMS["window"][:1], CR, **DICOMS["window"][1]))
    assert not window.free[(TWELVE > 3300) | (TWELVE < 700)].any()
    assert window.free[(TWELVE < 3200) & (TWELVE > 800)].all()


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (encoded(SMOOTH), SMOOTH),
        (sixteen_bit_png(TWELVE), TWELVE),
        (sixteen_bit_png(SIXTEEN), SIXTEEN),
        (sixteen_bit_png(TWELVE, significant=True), TWELVE),
        (encoded(SMOOTH, "BMP"), SMOOTH),
    ],
    ids=["8 bits", "12 of 16 bits", "16 bits", "16 bits, scaled", "BMP"],
)
def test_png_keeps_its_numbers_and_depth(content: bytes, values: np.ndarray) -> None:
    shown = open_picture(content)
    original = shown.write(shown.values, "original")
    assert original[:8] == b"\x89PNG\r\n\x1a\n"
    assert pixels_of(original).dtype == values.dtype
    assert np.array_equal(pixels_of(original), values)
    wanted = other_square(shown)
    got = square_of(shown.write(carry(shown, wanted, 12.0), "cloaked"), 16)
    assert np.sqrt(np.mean((got - wanted) ** 2)) < 2


def test_a_jpeg_becomes_a_png_of_the_pixels_that_are_read_of_it() -> None:
    content = encoded(np.dstack([SMOOTH] * 3), "JPEG", quality=90)
    shown = open_picture(content)
    assert np.array_equal(pixels_of(shown.write(shown.values, "original")), grey_of(content))


def test_a_picture_of_many_bits_that_is_no_png_is_scaled_to_sixteen() -> None:
    buffer = BytesIO()
    Image.fromarray(TWELVE).save(buffer, "TIFF")
    shown = open_picture(buffer.getvalue())
    again = shown.write(shown.values, "original")
    assert pixels_of(again).dtype == np.uint16
    assert np.abs(grey_of(again) - grey_of(buffer.getvalue())).max() < 0.01


# ---- what stays behind ----------------------------------------------------------------------------------------------

NAMING = ("Doe^Jane", "MRN-77123", "St. Elsewhere", "19670403", "20240229", "1.2.826.0.1.99", "Dr^Who", "ROOM-12B",
          "secretword")  # fmt: skip


def telling(**fields: Any) -> bytes:
    """A DICOM file that tells who it is about wherever a header can."""
    inner = Dataset()
    inner.PatientID, inner.RequestedProcedureDescription = "MRN-77123", "secretword"
    table = lookup_table([i // 2 + 64 for i in range(256)])
    table.LUTExplanation = "secretword Doe^Jane"
    values: dict[str, Any] = {
        "PatientName": "Doe^Jane", "PatientID": "MRN-77123", "InstitutionName": "St. Elsewhere",
        "PatientBirthDate": "19670403", "StudyDate": "20240229", "StudyInstanceUID": "1.2.826.0.1.99.1",
        "SeriesInstanceUID": "1.2.826.0.1.99.2", "SOPInstanceUID": "1.2.826.0.1.99.3",
        "FrameOfReferenceUID": "1.2.826.0.1.99.4", "ReferringPhysicianName": "Dr^Who", "StationName": "ROOM-12B",
        "SeriesDescription": "secretword", "StudyID": "secretword", "AccessionNumber": "secretword",
        "ImageComments": "Doe^Jane", "BodyPartExamined": "SECRETWORD", "ViewPosition": "PA",
        "WindowCenterWidthExplanation": "secretword", "RequestAttributesSequence": [inner],
        "RequestingPhysician": "Dr^Who", "VOILUTSequence": [table], "DerivationDescription": "secretword",
        "ImageType": ["ORIGINAL", "PRIMARY", "SECRETWORD"], "Modality": "CR", "RescaleType": "SECRETWORD",
    }  # fmt: skip
    made = pydicom.dcmread(BytesIO(dicom(SMOOTH.astype(np.uint16), CR, **(values | fields))))
    block = made.private_block(0x0009, "secretword", create=True)
    block.add_new(1, "LO", "Doe^Jane MRN-77123")
    made.preamble = b"secretword Doe^Jane".ljust(128, b"\0")
    made.file_meta.SourceApplicationEntityTitle = "ROOM-12B"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    buffer = BytesIO()
    made.save_as(buffer)
    return buffer.getvalue() + b""


def named_in(content: bytes) -> set[str]:
    lowered = content.lower()
    return {word for word in NAMING if word.lower().encode() in lowered}


@pytest.mark.parametrize("role", ["original", "cloaked", "restored"])
def test_nothing_that_names_somebody_is_written(role: str) -> None:
    content = telling()
    assert named_in(content) == set(NAMING), "the control"
    shown = open_picture(content)
    written = shown.write(shown.values, role)
    assert named_in(written) == set()
    header = pydicom.dcmread(BytesIO(written))
    assert header.ViewPosition == "PA"  # a word of a list is kept
    assert header.PatientIdentityRemoved == "YES"
    assert header.PatientName == header.PatientID == ""
    assert [element.keyword for element in header if element.tag.is_private] == []


def test_numbers_of_a_header_are_numbers() -> None:
    """An attribute of numbers with a word in it is dropped; where grey hangs on it, the file is refused."""
    made = pydicom.dcmread(BytesIO(dicom(TWELVE, CR)))
    made.add_new("PixelSpacing", "LO", ["0.14", "MRN-77123"])
    buffer = BytesIO()
    made.save_as(buffer)
    assert b"MRN-77123" in buffer.getvalue()
    shown = open_picture(buffer.getvalue())
    assert b"MRN-77123" not in shown.write(shown.values, "cloaked")


def test_words_in_bits_that_are_not_stored_are_not_written() -> None:
    hidden = (TWELVE & 0x0FFF) | 0x5000
    shown = open_picture(dicom(hidden.astype(np.uint16), CR, BitsStored=12, HighBit=11))
    written = pydicom.dcmread(BytesIO(shown.write(shown.values, "original")))
    raw = np.frombuffer(written.PixelData, "<u2").reshape(TWELVE.shape)
    assert np.array_equal(raw, TWELVE)


def test_identifiers_are_new_and_differ_between_pictures_and_roles() -> None:
    content = dicom(TWELVE, CR)
    found = set()
    for shown in (open_picture(content), open_picture(content)):
        for role in ("original", "cloaked", "restored"):
            header = pydicom.dcmread(BytesIO(shown.write(shown.values, role)))
            assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
            found |= {header.SOPInstanceUID, header.SeriesInstanceUID, header.StudyInstanceUID}
    assert len(found) == 18
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in found)


def test_a_compressed_file_is_written_uncompressed() -> None:
    made = pydicom.dcmread(BytesIO(dicom(TWELVE, CR)))
    made.compress(RLELossless, generate_instance_uid=False)
    buffer = BytesIO()
    made.save_as(buffer)
    shown = open_picture(buffer.getvalue())
    assert np.array_equal(stored_values(shown.write(shown.values, "original"))[0].values, TWELVE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (telling(BurnedInAnnotation="YES"), "burned into its pixels"),
        (
            dicom(np.dstack([SMOOTH] * 3), CR, PhotometricInterpretation="RGB", SamplesPerPixel=3,
                  PlanarConfiguration=0, Rows=90, Columns=120),
            "in color",
        ),
        (dicom(np.stack([TWELVE, TWELVE]), CR, NumberOfFrames="2"), "several frames"),
        (dicom(np.full_like(TWELVE, 7), CR), "a single value"),
        (dicom(SMOOTH.astype(np.uint16), CR, VOILUTSequence=[lookup_table([i % 100 for i in range(256)])]), "rise"),
        (b"nothing", "no image format"),
    ],
    ids=["burned in", "color", "frames", "one value", "table", "no image"],
)  # fmt: skip
def test_what_cannot_be_cloaked_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        open_picture(content)
