"""MedMNIST `.npz` files: `{train,val,test}_{images,labels}`; no patient ids."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.decoding import stretch
from fedward.dataset.naming import negative_class
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.records import SPLITS, Entry, Listing
from fedward.dataset.walking import printable
from fedward.errors import DataError

MAX_UNPACKED_BYTES = 16 * 2**30

# What zipfile and NumPy raise for damaged files, found by fuzzing; RuntimeError: "encrypted".
_DAMAGE = (
    OSError, ValueError, KeyError, EOFError, TypeError, OverflowError, MemoryError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
# The two sets of chest X-rays number their labels; these are the names that the MedMNIST paper gives.
_CHEST_NAMES = (
    "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
    "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
)  # fmt: skip
# What Keras calls the same arrays.
_ALIASES = {
    f"{part}_{other}": f"{split}_{name}"
    for part, name in (("x", "images"), ("y", "labels"))
    for other, split in (("train", "train"), ("val", "val"), ("valid", "val"), ("test", "test"))
}
_KNOWN_NAMES = {"pneumoniamnist": ("normal", "pneumonia"), "chestmnist": _CHEST_NAMES}


def list_medmnist(source: Path) -> Listing:
    """List the images of a MedMNIST file; any of the three splits may be missing.

    Raises:
        DataError: it is damaged, or is another kind of .npz file.
    """
    images, labels, names = [], [], []
    arrays = _load(source)
    for split in SPLITS:
        if f"{split}_images" not in arrays and f"{split}_labels" not in arrays:
            continue
        split_images, split_labels = _checked(source, split, arrays)
        images.append(split_images)
        labels.append(split_labels)
        names += [(split, row) for row in range(len(split_images))]
    if not names:
        raise _not_medmnist(source, "it has no train_images, val_images or test_images")
    if len({(part.shape[1:], part.dtype) for part in images}) > 1 or len({part.shape[1] for part in labels}) > 1:
        raise _not_medmnist(source, "its splits have different shapes or kinds of numbers")
    pixels, codes = _in_bytes(source, np.concatenate(images)), _without_one_hot(source, np.concatenate(labels))
    classes, shown = _classes(source, codes)
    entries = tuple(
        Entry(f"{split}[{row}]", shown[index], patient="", split=split) for index, (split, row) in enumerate(names)
    )
    return Listing(
        layout="MedMNIST",
        entries=entries,
        classes=classes,
        negative=negative_class(classes),
        exclusive=codes.shape[1] == 1,
        pixels=pixels,
    )


def _load(source: Path) -> dict[str, NDArray[Any]]:
    """The six arrays, those that are there; nothing is unpickled, and nothing unpacks into all of memory."""
    wanted = {f"{split}_{part}" for split in SPLITS for part in ("images", "labels")} | set(_ALIASES)
    try:
        with zipfile.ZipFile(source) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_UNPACKED_BYTES:
                raise _not_medmnist(source, f"it unpacks to more than {MAX_UNPACKED_BYTES // 2**30} GiB")
            if len(set(archive.namelist())) < len(archive.namelist()):
                raise _not_medmnist(source, "it holds an array twice")
        with np.load(source, allow_pickle=False) as file:
            found = sorted(wanted & set(file.files))
            arrays = {_ALIASES.get(name, name): file[name] for name in found}
            others = sorted(set(file.files) - wanted)
    except _DAMAGE as error:
        raise _not_medmnist(source, "it is damaged or no .npz file") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):  # NumPy hands out foreign members as bytes
        raise _not_medmnist(source, "it is damaged or no .npz file")
    if not arrays and others:
        raise _not_medmnist(source, f"it holds {', '.join(others[:4])}, but no train_images, val_images or test_images")
    return arrays


def _checked(source: Path, split: str, arrays: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """One split's images and labels, shapes and types as MedMNIST has them."""
    images, labels = arrays.get(f"{split}_images"), arrays.get(f"{split}_labels")
    if images is None or labels is None:
        raise _not_medmnist(source, f"{split}_images or {split}_labels is missing")
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3):
        images = np.moveaxis(images, 1, 3)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise _not_medmnist(
            source, f"{split}_images has the shape {images.shape}, not (n, height, width), with one or three colors"
        )
    if images.dtype.kind not in "uif":
        raise _not_medmnist(source, f"{split}_images holds {images.dtype}, not whole numbers or fractions")
    if labels.ndim == 1:
        labels = labels[:, None]
    if labels.ndim != 2 or len(labels) != len(images) or not labels.shape[1]:
        raise _not_medmnist(
            source, f"{split}_labels has the shape {labels.shape} and does not fit {len(images)} {split}_images"
        )
    return images, _codes(source, split, labels)


def _codes(source: Path, split: str, labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as whole numbers, or as text where they are words."""
    if labels.dtype.kind in "US":
        return np.char.strip(labels.astype(str))
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "uib":
        raise _not_medmnist(source, f"{split}_labels are neither whole numbers nor words")
    codes = labels.astype(np.int64)
    if (codes < 0).any():
        raise _not_medmnist(source, f"{split}_labels has labels below zero, which often stand for none")
    return codes


def _in_bytes(source: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    """Grey in [0, 255], by one rule for the whole file: what is dark in one image stays darker than in another."""
    if pixels.dtype == np.uint8:
        return pixels
    try:
        return stretch(pixels.reshape(len(pixels), -1)).reshape(pixels.shape)
    except UnreadableImageError as error:
        raise _not_medmnist(source, str(error)) from error


def _without_one_hot(source: Path, codes: NDArray[Any]) -> NDArray[Any]:
    """One column of classes for rows in which exactly one column is 1."""
    known = len(_KNOWN_NAMES.get(_stem(source), ())) == codes.shape[1] > 2
    if codes.shape[1] < 2 or known or codes.dtype.kind not in "iu":
        return codes
    is_one_hot = np.isin(codes, (0, 1)).all() and (codes.sum(axis=1) == 1).all()
    return codes.argmax(axis=1)[:, None] if is_one_hot else codes


def _stem(source: Path) -> str:
    return source.name.split(".")[0].split("_")[0].lower()


def _classes(source: Path, codes: NDArray[Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Names of the classes, and which of them each image shows."""
    known = _KNOWN_NAMES.get(_stem(source), ())
    if codes.shape[1] == 1:
        values = sorted(set(codes[:, 0].tolist()))
        if len(values) > 100:
            raise _not_medmnist(source, f"its labels take {len(values)} values")
        fits = all(isinstance(value, int) and 0 <= value < len(known) for value in values)
        names = {value: known[value] if fits else printable(str(value)) for value in values}
        return tuple(names[value] for value in values), [(names[value],) for value in codes[:, 0].tolist()]
    if codes.dtype.kind not in "iu" or not np.isin(codes, (0, 1)).all():
        raise _not_medmnist(source, "its labels are neither one class nor findings of 0 and 1")
    columns = known if len(known) == codes.shape[1] else tuple(f"finding-{i}" for i in range(codes.shape[1]))
    return columns, [tuple(columns[column] for column in np.flatnonzero(row)) for row in codes]


def _not_medmnist(source: Path, problem: str) -> DataError:
    return DataError(f"{source} cannot be read as a MedMNIST file: {problem}.", "Download it again, or check --data.")
