"""Compressed pixels in helper processes: right where they can be; and whatever bytes come, one file at most is lost."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless
from sample_images import dicom, encoded, picture, write
from source_tree import ROOT

from fedward.dataset import apart
from fedward.dataset.apart import Helpers, PixelBudget
from fedward.dataset.dicom import decode_dicom
from fedward.dataset.problems import NotAnImageError, UnreadableImageError
from fedward.dataset.reading import decode, decode_apart


def coded(name: str, pixels: np.ndarray, **options: Any) -> bytes:
    """Pixels in one of imagecodecs' encodings."""
    return bytes(getattr(imagecodecs, f"{name}_encode")(pixels, **options))


SAMPLES = Path(pydicom.__file__).parent / "data"
PICTURE = picture(3)
TWELVE = picture(4).astype(np.uint16) * 16
# Codestreams that only imagecodecs reads.
STREAMS = [
    coded("jpeg8", TWELVE, lossless=True, bitspersample=12),
    coded("jpeg8", TWELVE, bitspersample=12),
    coded("jpegls", TWELVE),
    coded("jpeg2k", TWELVE, level=0, reversible=True),
    coded("htj2k", TWELVE, reversible=True),
    encoded(TWELVE, "TIFF"),
]


@pytest.fixture(scope="module")
def helpers() -> Iterator[Helpers]:
    with Helpers() as started:
        yield started


def ask(helpers: Helpers, content: bytes) -> np.ndarray | str:
    """The square, or the reason."""
    try:
        return decode_apart(content, 16, helpers, lambda _pixels: None).image
    except UnreadableImageError as error:
        return str(error)


def test_a_helper_gives_what_this_process_would(helpers: Helpers) -> None:
    for content in (*STREAMS, dicom(TWELVE, PatientID="Mrs. X"), encoded(PICTURE)):
        assert np.array_equal(ask(helpers, content), decode(content, 16).image)
    found = helpers.decode(dicom(TWELVE, PatientID="Mrs. X", BurnedInAnnotation="YES"), 16, lambda _pixels: None)
    assert (found.patient, found.is_dicom, found.burned_in) == ("Mrs. X", True, True)
    assert found.digest == decode(dicom(TWELVE), 16).digest
    assert helpers.patient_id(dicom(TWELVE, PatientID="Mrs. X")) == "Mrs. X"
    with pytest.raises(NotAnImageError):
        helpers.decode(dicom(TWELVE, "1.2.840.10008.5.1.4.1.1.88.67", PixelData=None), 16, lambda _pixels: None)


# ---- pydicom's own sample files: each right, or refused with the true reason --------------------------------------

_REFUSED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "another size",
    "MR_truncated.dcm": "damaged or truncated",
    "empty_charset_LEI.dcm": "pixels are missing",
    "meta_missing_tsyntax.dcm": "damaged or truncated",
    "nested_priv_SQ.dcm": "damaged or truncated",
    "no_meta.dcm": "pixels are missing",
    "chrJapMulti.dcm": "pixels are missing",
    "chrJapMultiExplicitIR6.dcm": "pixels are missing",
    "chrKoreanMulti.dcm": "pixels are missing",
    "chrSQEncoding.dcm": "pixels are missing",
    "chrSQEncoding1.dcm": "pixels are missing",
    "UN_sequence.dcm": "pixels are missing",
    "priv_SQ.dcm": "pixels are missing",
}
_NO_PICTURES = (
    "rt", "test-SR", "reportsi", "waveform", "liver", "badVR", "ExplVR_BigEndNoMeta", "ExplVR_LitEndNoMeta",
    "no_meta_group", "DICOMDIR", "fall", "hotiron", "hotmetalblue", "pet", "spring", "summer",
    "winter",
)  # fmt: skip
# Pictures of one thing in several encodings: same grey, within what loss allows.
_ALIKE = [
    (("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm",
      "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_padded.dcm", "MR_small_expb.dcm"), 0.01),
    (("SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_gdcm_KY.dcm",
      "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm",
      "SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_jls_lossy_line.dcm"), 3.0),
    (("SC_rgb_jpeg_dcmd.dcm", "SC_rgb_jpeg.dcm", "SC_jpeg_no_color_transform.dcm"), 0.5),
    (("SC_rgb_jpeg_app14_dcmd.dcm", "SC_jpeg_no_color_transform_2.dcm"), 0.5),
    (("JPGExtended.dcm", "JPEG-lossy.dcm"), 0.5),
]  # fmt: skip


def sample_files() -> list[Path]:
    found = [path for folder in ("test_files", "charset_files", "palettes") for path in (SAMPLES / folder).rglob("*")]
    return sorted(path for path in found if path.suffix == ".dcm")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", sample_files(), ids=lambda path: path.name)
def test_pydicoms_samples_are_read_or_refused_for_the_true_reason(path: Path) -> None:
    refused = _REFUSED.get(path.name, "without a picture" if path.name.startswith(_NO_PICTURES) else "")
    if path.parent.name not in ("test_files", "charset_files", "palettes") and not refused:
        refused = "without a picture|pixels are missing"
    if not refused:
        assert decode_dicom(path.read_bytes()).grey.max() > 0
        return
    with pytest.raises(UnreadableImageError, match=refused):
        decode_dicom(path.read_bytes())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("names", "tolerance"), _ALIKE, ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_one_picture_in_several_encodings_has_one_grey(names: tuple[str, ...], tolerance: float) -> None:
    first, *others = (decode_dicom((SAMPLES / "test_files" / name).read_bytes()).grey for name in names)
    for name, grey in zip(names[1:], others, strict=True):
        assert np.abs(first - grey).mean() < tolerance, name


# ---- hostile bytes -----------------------------------------------------------------------------------------------


def test_altered_codestreams_cost_one_file_each(helpers: Helpers) -> None:
    rng = np.random.default_rng(1)
    for number in range(600):
        content = bytearray(STREAMS[number % len(STREAMS)])
        for _ in range(int(rng.integers(1, 6))):
            content[int(rng.integers(0, len(content)))] = int(rng.integers(0, 256))
        if number % 5 == 0:
            content = content[: int(rng.integers(4, len(content)))]
        found = ask(helpers, bytes(content))
        assert isinstance(found, str) or found.shape == (16, 16)
    assert np.array_equal(ask(helpers, STREAMS[0]), decode(STREAMS[0], 16).image), "helpers go on afterwards"


def test_a_decoder_that_crashes_is_told_and_replaced() -> None:
    with Helpers() as helpers:
        helpers.patient_id(dicom(TWELVE))
        (process,) = helpers._idle
        os.kill(process.pid, signal.SIGSEGV)
        process.wait()
        with pytest.raises(UnreadableImageError, match="crashed"):
            helpers.decode(STREAMS[0], 16, lambda _pixels: None)
        assert helpers.decode(STREAMS[0], 16, lambda _pixels: None).image.shape == (16, 16)


def test_a_decoder_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with Helpers() as helpers:
        helpers.patient_id(dicom(TWELVE))
        monkeypatch.setattr(apart, "SECONDS_A_FILE", 1)
        os.kill(helpers._idle[0].pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(UnreadableImageError, match="not decoded within"):
            helpers.decode(STREAMS[0], 16, lambda _pixels: None)
        assert time.monotonic() - started < 5


def rle_bomb() -> bytes:
    """A file of 6 MB whose segments would unpack to 380 MB each, for an image of 16 x 16."""
    header = pydicom.dcmread(BytesIO(dicom(TWELVE[:16, :16])))
    header.file_meta.TransferSyntaxUID = RLELossless
    runs = b"\x81\x00" * 1_500_000
    frame = struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13) + runs + runs
    header.PixelData = encapsulate([frame])
    header["PixelData"].VR = "OB"
    buffer = BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def deep_png(side: int) -> bytes:
    """Sixteen bits of black, a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    engine, body = zlib.compressobj(9), b""
    for _ in range(side):
        body += engine.compress(b"\0" * (2 * side + 1))
    head = chunk(b"IHDR", struct.pack(">2I5B", side, side, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body + engine.flush()) + chunk(b"IEND", b"")


def nested_sequences(depth: int) -> bytes:
    element = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    plain = dicom(TWELVE)
    at = 144 + int.from_bytes(plain[140:144], "little")
    return plain[:at] + element * depth + plain[at:]


_PROGRAM = """
import sys, resource; sys.path[:0] = {paths!r}
from pathlib import Path
from sample_images import data_settings
from fedward.dataset.layouts import list_images
from fedward.dataset.reading import read_files
listing = list_images(data_settings({source!r}), 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = read_files(listing, 16, lambda *_: None, 4, Path({cache!r}))
assert len(table) == 4
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_are_bounded_before_decoding(helpers: Helpers, tmp_path: Path) -> None:
    started = time.monotonic()
    assert isinstance(ask(helpers, rle_bomb()), np.ndarray)
    assert "deep" in str(ask(helpers, nested_sequences(20_000)))
    assert time.monotonic() - started < 10
    # Four threads, each with a PNG of 62 million pixels of 16 bits: one at a time, in less memory than one took.
    for number in range(4):
        write(tmp_path / "set" / ("NORMAL", "SICK")[number % 2] / f"{number}.png", deep_png(7_900))
    program = _PROGRAM.format(
        paths=[str(ROOT), str(ROOT / "tests")], source=str(tmp_path / "set"), cache=str(tmp_path / "cache")
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_100, f"{done.stdout} MiB more than before"
    print(done.stdout)


# ---- the budget --------------------------------------------------------------------------------------------------


def test_reserved_pixels_never_pass_the_total() -> None:
    budget, lock, used, most = PixelBudget(100), threading.Lock(), 0, 0

    def work(wanted: int) -> None:
        nonlocal used, most
        for _ in range(20):
            with budget.account() as reserve:
                reserve(wanted)
                reserve(wanted)  # a second time is the same file's
                with lock:
                    used += min(wanted, 100)
                    most = max(most, used)
                time.sleep(0.0005)
                with lock:
                    used -= min(wanted, 100)

    threads = [threading.Thread(target=work, args=(wanted,)) for wanted in (30, 40, 60, 100, 1_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert most <= 100
    assert budget._used == 0
