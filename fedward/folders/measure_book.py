"""What a hospital's detectors measured of accepted models, kept on its disk: numbers, not the models themselves.

secret (32 bytes: what this hospital's detectors draw from)  own.npz (of the last update that it made)
candidate.npz  accepted-000012.npz (the last `KEPT`)
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward.files import make_folder, remove_file, write_atomic
from fedward.folders.arrays import PRIVATE, arrays_as_bytes, damaged, read_arrays, read_content

KEPT = 24  # accepted models; `feedback` compares with the changes of twenty
SECRET_BYTES = 32

_ROUND, _DIGEST = "round index", "digest"  # beside the measures, whose names have no spaces
_NORM, _SKETCH = "norm", "sketch"
_REMEDY = "Delete this file: detectors then judge by what they measure from now on."

Measures = Mapping[str, NDArray[np.float64]]  # by name


@dataclass(frozen=True)
class MeasuredModel:
    """What detectors measured of one model.

    Attributes:
        round_index: The round that the model came from.
        digest: 32 bytes; of its weights and moments, as votes name it.
        measures: float64 arrays by name; a detector's own begin with its name.
    """

    round_index: int
    digest: bytes
    measures: Measures = field(repr=False)


@dataclass(frozen=True)
class MeasuredUpdate:
    """What a hospital keeps of an update of its own: not the update.

    Attributes:
        round_index: The round that it was made in.
        norm: Its L2 norm.
        sketch: float64, see `fedward.backdoor.sketches`.
    """

    round_index: int
    norm: float
    sketch: NDArray[np.float64] = field(repr=False)


class MeasureBook:
    """Reads and writes measures; every file is whole or not there.

    A candidate's are kept when it is judged, and come to stay when it is known to be accepted. A hospital that did not
    judge a model, because it was away, has none of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def secret(self) -> bytes:
        """What this hospital's detectors draw from; drawn from the operating system when it is first asked for.

        Raises:
            EvidenceError: the file is damaged.
        """
        path = self._path / "secret"
        if not path.exists():
            make_folder(self._path)
            write_atomic(path, os.urandom(SECRET_BYTES), PRIVATE)
        content = read_content(path)
        if len(content) != SECRET_BYTES:
            raise damaged(path, ValueError(f"{len(content)} bytes"), "Delete it: another is drawn.")
        return content

    def save_own_update(self, own: MeasuredUpdate) -> None:
        """Keep what was measured of the update that this hospital made in a round, in place of the last one's."""
        make_folder(self._path)
        arrays: dict[str, np.ndarray | np.generic] = {_ROUND: np.int64(own.round_index), _SKETCH: own.sketch}
        write_atomic(self._path / "own.npz", arrays_as_bytes(**arrays, **{_NORM: np.float64(own.norm)}), PRIVATE)

    def own_update(self, round_index: int) -> MeasuredUpdate | None:
        """What was measured of the update that this hospital made in a round; None where it made none.

        Raises:
            EvidenceError: the file is damaged.
        """
        path = self._path / "own.npz"
        if not path.exists():
            return None
        arrays = read_arrays(path, (_ROUND, _NORM, _SKETCH), _REMEDY)
        try:
            own = MeasuredUpdate(int(arrays[_ROUND]), float(arrays[_NORM]), arrays[_SKETCH].astype(np.float64))
        except (ValueError, TypeError) as error:
            raise damaged(path, error, _REMEDY) from error
        return own if own.round_index == round_index else None

    def save_candidate(self, measured: MeasuredModel) -> None:
        """Keep what was measured of a candidate until the ledger says what became of its round."""
        make_folder(self._path)
        arrays: dict[str, np.ndarray | np.generic] = {**measured.measures}
        arrays |= {_ROUND: np.int64(measured.round_index), _DIGEST: np.frombuffer(measured.digest, np.uint8)}
        content = arrays_as_bytes(**arrays)
        write_atomic(self._path / "candidate.npz", content, PRIVATE)

    def accept(self, round_index: int, digest: bytes) -> None:
        """The model of a round came into force: keep for good what was measured of it, if it was the last candidate.

        Raises:
            EvidenceError: a file is damaged.
        """
        path = self._path / "candidate.npz"
        measured = _read(path) if path.exists() else None
        if measured is None or (measured.round_index, measured.digest) != (round_index, digest):
            return
        write_atomic(self._file(round_index), read_content(path), PRIVATE)
        for old in self._files()[:-KEPT]:
            remove_file(old)

    def accepted(self) -> tuple[MeasuredModel, ...]:
        """What was measured of the last accepted models that this hospital judged, oldest first.

        Raises:
            EvidenceError: a file is damaged.
        """
        return tuple(_read(path) for path in self._files())

    def _file(self, round_index: int) -> Path:
        return self._path / f"accepted-{round_index:06d}.npz"

    def _files(self) -> list[Path]:
        return sorted(self._path.glob("accepted-*.npz"))


def _read(path: Path) -> MeasuredModel:
    arrays = read_arrays(path, remedy=_REMEDY)
    try:
        round_index, digest = int(arrays.pop(_ROUND)), arrays.pop(_DIGEST).tobytes()
        return MeasuredModel(round_index, digest, {name: each.astype(np.float64) for name, each in arrays.items()})
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(path, error, _REMEDY) from error
