"""A federation's standing as a file, so that many attacks start from the same converged model."""

from pathlib import Path

import numpy as np

from fedward.files import write_atomic
from fedward.folders.arrays import arrays_as_bytes, read_arrays
from fedward.folders.measure_book import MeasuredModel
from fedward.labs.federation import Standing
from fedward.types import GlobalModel

_REMEDY = "Delete the lab's folder and start it anew."


def save_standing(path: Path, standing: Standing) -> None:
    """Write a standing; the file is whole or not there."""
    arrays: dict[str, np.ndarray | np.generic] = {
        "rounds": np.int64(standing.rounds),
        "hospitals": np.int64(len(standing.measured)),
        "weights": standing.model.weights,
        "moments": standing.model.moments,
    }
    for hospital, models in enumerate(standing.measured):
        for model in models:
            arrays |= {f"{hospital}/{model.round_index}/{name}": values for name, values in model.measures.items()}
    write_atomic(path, arrays_as_bytes(**arrays))


def load_standing(path: Path) -> Standing:
    """Read a standing.

    Raises:
        EvidenceError: the file is missing or damaged.
    """
    arrays = read_arrays(path, remedy=_REMEDY)
    found: list[dict[int, dict[str, np.ndarray]]] = [{} for _ in range(int(arrays["hospitals"]))]
    for name, values in arrays.items():
        hospital, slash, rest = name.partition("/")
        if slash:
            round_index, _, measure = rest.partition("/")
            found[int(hospital)].setdefault(int(round_index), {})[measure] = values
    measured = tuple(tuple(MeasuredModel(index, b"", models[index]) for index in sorted(models)) for models in found)
    return Standing(int(arrays["rounds"]), GlobalModel(arrays["weights"], b"", arrays["moments"]), measured)
