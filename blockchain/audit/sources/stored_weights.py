"""The weights in a `model.keras`, read as arrays: no network is built, and nothing in the file is run."""

import io
import re
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fedward.errors import VerificationError
from fedward.files import parse_json, read_file
from fedward.types import Vector

MAX_MODEL_BYTES = 512 * 1024 * 1024  # DenseNet121 has 28 MB
_MAX_GRAPH_BYTES = 16 * 1024 * 1024
_MAX_DEPTH = 3  # DenseNet121 is one network within another
_REMEDY = "Compare it with a hospital's copy."
# What zipfile, HDF5 and NumPy raise over foreign bytes.
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError, zlib.error)


def stored_weights(path: Path) -> Vector:
    """All weights that training changes, as `fedward.learning.model.Classifier.get_weights` gives them.

    The order of the layers is taken from the file's own description of the network, so only the weights' digest says
    whether it is right. Layers that are not Keras's own have fixed weights, and are left out.

    Args:
        path: The model's file.

    Returns:
        float32, shape (parameters,).

    Raises:
        EvidenceError: there is no such file.
        VerificationError: it is damaged, too large, or no model as Fedward saves one.
    """
    content = read_file(path, MAX_MODEL_BYTES, "The model", _REMEDY)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            graph = parse_json(_member(archive, "config.json", _MAX_GRAPH_BYTES))
            weights = _member(archive, "model.weights.h5", MAX_MODEL_BYTES)
        with h5py.File(io.BytesIO(weights), "r") as file:
            parts = _in_order(file["layers"], graph["config"]["layers"], len(weights) // 4)
    except (*_DAMAGE, zipfile.BadZipFile) as error:
        raise VerificationError(f"The weights in {path} cannot be read ({type(error).__name__}).", _REMEDY) from error
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A member's content, up to a bound."""
    if archive.namelist().count(name) != 1:
        raise ValueError("not exactly one member of that name")
    with archive.open(name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError("too long")
    return content


def _in_order(layers: Any, described: Any, most: int, depth: int = 0) -> list[Vector]:
    """Each layer's arrays, in the order of the description; at most so many numbers in all."""
    if depth > _MAX_DEPTH:
        raise ValueError("networks within networks")
    found, numbers, seen = list[Vector](), 0, Counter[str]()
    by_kind = {(_kind(name), _number(name)): name for name in layers}
    for layer in described:
        kind = str(layer["class_name"]).lower()
        place, seen[kind] = seen[kind], seen[kind] + 1
        name = by_kind.get((kind, place))
        if name is None or not str(layer["module"]).startswith("keras."):
            continue
        if kind == "functional":
            parts = _in_order(_linked(_linked(layers, name), "layers"), layer["config"]["layers"], most, depth + 1)
        else:
            parts = _arrays(_linked(_linked(layers, name), "vars"), most)
        found += parts
        numbers += sum(part.size for part in parts)
        if numbers > most:
            raise ValueError("more numbers than bytes")
    return found


def _arrays(variables: Any, most: int) -> list[Vector]:
    """One layer's arrays, each plain and small enough to lie in the file."""
    found = list[Vector]()
    for index in range(len(variables)):
        stored = _linked(variables, str(index))
        plain = stored.dtype == np.dtype("<f4") and stored.chunks is None and not stored.external
        if not plain or stored.is_virtual or stored.size > most:
            raise ValueError("no plain array of 32-bit numbers")
        found.append(np.asarray(stored[()], np.float32).ravel())
    return found


def _linked(group: Any, name: str) -> Any:
    """A member of a group that lies in the same file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise TypeError("a link out of the file")
    return group[name]


def _kind(name: str) -> str:
    """A layer's class, from its name in the file: `group_normalization_2` is a GroupNormalization."""
    return re.sub(r"_[0-9]+$", "", name).replace("_", "")


def _number(name: str) -> int:
    """How many layers of its class come before it."""
    match = re.search(r"_([0-9]{1,6})$", name)
    return int(match[1]) if match else 0
