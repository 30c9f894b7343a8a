"""The attack `pixels`: a few pixels are set anew, found by differential evolution.

Su, Vargas and Sakurai 2019, "One Pixel Attack for Fooling Deep Neural Networks", with as many pixels as are asked for.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from scipy.optimize import differential_evolution

from fedward.adversarial.attack import Aim, Attack
from fedward.adversarial.victim import Victim
from fedward.tables import Between
from fedward.types import Vector


@dataclass(frozen=True)
class PixelOptions:
    """Options of `pixels`.

    Attributes:
        count: How many pixels may be set anew, to any grey.
        generations: How often candidates are mixed anew.
        population: How many candidates there are at a time.
    """

    count: Annotated[int, Between(1, 10_000)] = 50
    generations: Annotated[int, Between(1, 10_000)] = 30
    population: Annotated[int, Between(5, 10_000)] = 40


@dataclass(frozen=True)
class Pixels(Attack):
    """Needs scores only. An image is left alone once it has reached the aim."""

    options: PixelOptions
    name: ClassVar[str] = "pixels"
    about: ClassVar[str] = "some pixels set anew, found by differential evolution"
    needs: ClassVar[str] = "scores"

    def perturb(self, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator) -> Vector:
        """See `Attack.perturb`."""
        found = pixels.copy()
        for row in np.flatnonzero(aim.missing(victim.margins(pixels)) > 0):
            found[row] = self._searched(victim, pixels[row], aim.some(slice(row, row + 1)), rng)
        return found

    def _searched(self, victim: Victim, image: Vector, aim: Aim, rng: np.random.Generator) -> Vector:
        """One image with the best pixels found: three numbers from 0 to 1 tell a pixel's row, column and grey."""
        numbers = 3 * self.options.count

        def missing(candidates: Vector) -> Any:
            made = np.stack([_drawn(image, candidate) for candidate in candidates.T])
            many = Aim(np.repeat(aim.labels, len(made), axis=0), aim.toward)
            return many.missing(victim.margins(made)).astype(np.float64)

        result = differential_evolution(
            missing,
            [(0.0, 1.0)] * numbers,
            init=rng.random((self.options.population, numbers)),
            maxiter=self.options.generations,
            mutation=0.5,
            recombination=1.0,
            polish=False,
            vectorized=True,
            updating="deferred",
            callback=lambda intermediate_result: bool(intermediate_result.fun <= 0),
            rng=rng,
        )
        return _drawn(image, result.x)


def _drawn(image: Vector, candidate: Vector) -> Vector:
    """An image with a candidate's pixels; shape (height, width, 1)."""
    found, (rows, columns, greys) = image.copy(), candidate.reshape(-1, 3).T
    height, width = image.shape[:2]
    places = np.minimum((rows * height).astype(int), height - 1), np.minimum((columns * width).astype(int), width - 1)
    found[(*places, 0)] = greys
    return found
