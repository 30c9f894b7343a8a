"""The attack `square`: random squares at the bound, kept where scores come nearer to the aim.

Andriushchenko et al. 2020, "Square Attack: a query-efficient black-box adversarial attack via random search".
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedward.adversarial.attack import Aim, Attack, BoundedOptions
from fedward.adversarial.gradient_steps import within
from fedward.adversarial.victim import Victim
from fedward.tables import Between
from fedward.types import Vector

_HALVED_AT = (10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000)  # of 10,000 iterations, as published


@dataclass(frozen=True)
class SquareOptions(BoundedOptions):
    """Options of `square`.

    Attributes:
        iterations: How many squares are tried.
        share: Of the image, the first squares' area.
    """

    iterations: Annotated[int, Between(1, 100_000)] = 300
    share: Annotated[float, Between(0, 1, above=True)] = 0.8


@dataclass(frozen=True)
class Square(Attack):
    """Needs scores only. An image is left alone once it has reached the aim."""

    options: SquareOptions
    name: ClassVar[str] = "square"
    about: ClassVar[str] = "random squares, kept where they help"
    needs: ClassVar[str] = "scores"

    def perturb(self, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator) -> Vector:
        """See `Attack.perturb`."""
        eps, (count, height, width) = self.options.eps, pixels.shape[:3]
        stripes = rng.choice(np.array([-eps, eps], np.float32), (count, 1, width, 1))
        found = within(pixels + stripes, pixels, eps)
        missing = aim.missing(victim.margins(found))
        for iteration in range(self.options.iterations):
            open_ones = np.flatnonzero(missing > 0)
            if not len(open_ones):
                break
            side = max(1, min(height, width, round(float(np.sqrt(self._share(iteration) * height * width)))))
            tried = found[open_ones].copy()
            signs = rng.choice(np.array([-eps, eps], np.float32), len(open_ones))
            tops = rng.integers(0, height - side + 1, len(open_ones))
            lefts = rng.integers(0, width - side + 1, len(open_ones))
            for row, (index, sign, top, left) in enumerate(zip(open_ones, signs, tops, lefts, strict=True)):
                place = slice(top, top + side), slice(left, left + side)
                tried[row][place] = pixels[index][place] + sign
            tried = within(tried, pixels[open_ones], eps)
            now = aim.some(open_ones).missing(victim.margins(tried))
            better = now < missing[open_ones]
            found[open_ones[better]], missing[open_ones[better]] = tried[better], now[better]
        return found

    def _share(self, iteration: int) -> float:
        """Of the image, the area of the square that is tried now."""
        progress = iteration / self.options.iterations * 10_000
        return float(self.options.share * 0.5 ** sum(progress > each for each in _HALVED_AT))
