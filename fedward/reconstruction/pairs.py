"""Pairs of an image and what an attack made of it, with labels: what readers are trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.errors import DataError
from fedward.reconstruction.shape import LARGEST_SIZE, MOST_FINDINGS, SMALLEST_SIZE, STEP
from fedward.types import Vector


@dataclass(frozen=True)
class Pairs:
    """Perturbed images beside their originals.

    Attributes:
        encrypted: float32, shape (n, size, size, 1), values in [0, 1]; size a multiple of 16, from 16 to 512.
        originals: float32, the same shape and range; row by row what `encrypted` was made of.
        labels: float32, shape (n, findings), each 0 or 1.

    Raises:
        DataError: there is no pair, shapes do not fit together, or a value is not in [0, 1].
    """

    encrypted: Vector
    originals: Vector
    labels: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape, count = self.encrypted.shape, len(self.encrypted)
        square = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 1
        if not square or shape[1] % STEP or not SMALLEST_SIZE <= shape[1] <= LARGEST_SIZE:
            raise DataError(
                f"Readers take grey squares whose side is a multiple of {STEP} from {SMALLEST_SIZE} to {LARGEST_SIZE},"
                f" not images of shape {shape[1:]}.",
                "Change data.image-size.",
            )
        fits = self.originals.shape == shape and self.labels.ndim == 2 and len(self.labels) == count
        if not fits or not count or not 1 <= self.labels.shape[1] <= MOST_FINDINGS:
            raise DataError(
                f"Encrypted images of shape {shape}, originals of {self.originals.shape} and labels of"
                f" {self.labels.shape} are no pairs.",
                "Give each encrypted image its original and its labels.",
            )
        for name, values in (("encrypted", self.encrypted), ("originals", self.originals), ("labels", self.labels)):
            if not (values.min() >= 0 and values.max() <= 1):  # false for what is no number
                raise DataError(f"Values of {name} are not all in [0, 1].", "Clip images, and label with 0 or 1.")

    def __len__(self) -> int:
        return len(self.encrypted)

    def some(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Pairs":
        """Some of the pairs, by their places or by which of all they are; at least one."""
        return Pairs(self.encrypted[rows], self.originals[rows], self.labels[rows])
