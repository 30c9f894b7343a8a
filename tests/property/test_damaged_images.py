"""Whatever bytes come, decoding ends in an image or in a reason, never in anything else."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sample_images import CR, dicom, encoded, lookup_table, picture

from data_preprocessing import load_partition, read_image, save_partition
from fedward.dataset.decoding import quiet_decoders
from fedward.dataset.medmnist import list_medmnist
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.reading import decode
from fedward.errors import DataError, FedwardError
from fedward.types import HospitalId, ImageSet, Partition

PICTURE = picture(5)
SAMPLES = [
    encoded(PICTURE),
    encoded(PICTURE, "JPEG"),
    encoded(PICTURE, "PNG", "P"),
    encoded(PICTURE.astype(np.uint16) * 257, "TIFF"),
    encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    encoded(PICTURE, "GIF"),
    encoded(PICTURE, "BMP"),
    encoded(PICTURE, "WEBP"),
    encoded(PICTURE, "JPEG2000"),
    encoded(PICTURE, "PPM"),
    dicom(PICTURE.astype(np.uint16), CR, WindowCenter="100", WindowWidth="50", RescaleSlope="1", RescaleIntercept="0"),
    dicom(PICTURE // 16, CR, VOILUTSequence=[lookup_table(list(range(16)))], implicit=True),
]

MEDMNIST_ARRAYS = {"images": PICTURE[None].repeat(4, axis=0), "labels": np.array([[0], [1], [0], [1]], np.uint8)}


def attempt(content: bytes) -> None:
    try:
        with quiet_decoders():
            decoded = decode(content, 16)
    except UnreadableImageError:
        return
    assert decoded.image.shape == (16, 16)
    assert decoded.image.dtype == np.uint8


@pytest.mark.slow
@given(st.data())
@settings(max_examples=600, deadline=None)
def test_altered_files(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(1, 8))):
        # Headers are where parsers break: two of three changes fall on the first 400 bytes.
        end = len(content) if data.draw(st.integers(0, 2)) == 0 else min(400, len(content))
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    attempt(bytes(content))


@given(st.sampled_from(SAMPLES), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_truncated_files(content: bytes, share: float) -> None:
    attempt(content[: int(len(content) * share)])


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"\0" * 128 + b"DICM"]),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_behind_a_magic_word(tail: bytes, magic: bytes) -> None:
    attempt(magic + tail)


@given(st.binary(max_size=100))
@settings(max_examples=50, deadline=None)
def test_read_image_raises_only_our_own_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"image\.png"):
            read_image(path, 16)


@given(st.integers(0, 10_000), st.integers(0, 255))
@example(position=9999, value=1)  # marks a member as encrypted
@settings(max_examples=150, deadline=None)
def test_altered_partitions_load_unchanged_or_not_at_all(position: int, value: int) -> None:
    part = ImageSet(PICTURE[None], np.ones((1, 1), np.float32), np.array(["0" * 16]))
    whole = Partition(HospitalId("hospital-1"), ("opacity",), part, part, part)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.npz"
        save_partition(path, whole)
        content = bytearray(path.read_bytes())
        content[position % len(content)] = value
        path.write_bytes(content)
        try:
            back = load_partition(path)
        except FedwardError:
            return
    assert np.array_equal(back.train.images, part.images)
    assert back.findings == ("opacity",)


@given(st.integers(0, 10_000), st.integers(0, 255), st.floats(0.3, 1))
@settings(max_examples=150, deadline=None)
def test_altered_medmnist_files_are_listed_or_refused(position: int, value: int, share: float) -> None:
    arrays = {f"{split}_{part}": array for split in ("train", "test") for part, array in MEDMNIST_ARRAYS.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.npz"
        np.savez(path, allow_pickle=False, **arrays)
        content = bytearray(path.read_bytes())
        content[position % len(content)] = value
        path.write_bytes(content[: int(len(content) * share)] if share < 0.5 else content)
        try:
            listing = list_medmnist(path)
        except DataError:
            return
    assert listing.pixels is not None
    assert len(listing.pixels) == len(listing.entries)
