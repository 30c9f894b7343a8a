"""Attacks `apgd` and `auto`: steps along the gradient that adapt their length, alone or with `square` behind them.

Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks".
Of their ensemble, two attacks have a meaning with one logit a finding: APGD on the cross-entropy, and Square. The loss
"difference of logits ratio" needs three logits.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedward.adversarial.attack import Aim, Attack, BoundedOptions
from fedward.adversarial.gradient_steps import within
from fedward.adversarial.square import Square, SquareOptions
from fedward.adversarial.victim import Victim
from fedward.tables import Between
from fedward.types import Vector

_FIRST_STEP = 2.0  # in bounds
_NEWEST = 0.75  # how much of each step is new; the rest goes on as the step before
_IMPROVING = 0.75  # of the steps between two checkpoints: with fewer that help, steps become half as long
_FIRST_CHECK, _SHORTER, _LEAST = 0.22, 0.03, 0.06  # where checkpoints lie, in shares of all iterations


@dataclass(frozen=True)
class AdaptiveOptions(BoundedOptions):
    """Options of `apgd`.

    Attributes:
        iterations: How many steps.
    """

    iterations: Annotated[int, Between(1, 10_000)] = 50


@dataclass(frozen=True)
class AutoOptions(AdaptiveOptions):
    """Options of `auto`.

    Attributes:
        squares: How many squares are tried on images that steps did not turn.
    """

    squares: Annotated[int, Between(1, 100_000)] = 300


@dataclass(frozen=True)
class AdaptiveSteps(Attack):
    """Steps get shorter where they stop helping, and go on from the best image so far."""

    options: AdaptiveOptions
    name: ClassVar[str] = "apgd"
    about: ClassVar[str] = "steps along the gradient's sign that adapt their length"
    needs: ClassVar[str] = "gradients"

    def perturb(self, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator) -> Vector:
        """See `Attack.perturb`."""
        eps = self.options.eps
        found = within(pixels + rng.uniform(-eps, eps, pixels.shape).astype(np.float32), pixels, eps)
        missing, uphill = aim.missing_and_uphill(victim, found)
        before, best, best_uphill = found, found.copy(), uphill.copy()
        least, steps = missing.copy(), _Steps(len(pixels), self.options.iterations, missing)
        for iteration in range(self.options.iterations):
            length = np.float32(_FIRST_STEP * eps) * steps.lengths
            ahead = within(found + length * np.sign(uphill), pixels, eps)
            newest = np.float32(_NEWEST if iteration else 1.0)
            mixed = found + newest * (ahead - found) + (1 - newest) * (found - before)
            before, found = found, within(mixed, pixels, eps)
            now, uphill = aim.missing_and_uphill(victim, found)
            steps.helped += now < missing
            missing = now
            better = now < least
            best[better], best_uphill[better], least[better] = found[better], uphill[better], now[better]
            halved = steps.check(iteration + 1, least)
            if halved.any():
                pixelwise = halved[:, None, None, None]
                found, before = np.where(pixelwise, best, found), np.where(pixelwise, best, before)
                uphill = np.where(pixelwise, best_uphill, uphill)
                missing = np.where(halved, least, missing)
        return best


@dataclass(frozen=True)
class Auto(Attack):
    """`apgd`, then `square` on the images that it did not turn."""

    options: AutoOptions
    name: ClassVar[str] = "auto"
    about: ClassVar[str] = "apgd, then square on what withstood it: AutoAttack for two classes"
    needs: ClassVar[str] = "gradients"

    def perturb(self, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator) -> Vector:
        """See `Attack.perturb`."""
        options = self.options
        found = AdaptiveSteps(AdaptiveOptions(options.eps, options.iterations)).perturb(victim, pixels, aim, rng)
        missing = aim.missing(victim.margins(found))
        rest = np.flatnonzero(missing > 0)
        if len(rest):
            square = Square(SquareOptions(options.eps, options.squares))
            tried = square.perturb(victim, pixels[rest], aim.some(rest), rng)
            nearer = aim.some(rest).missing(victim.margins(tried)) < missing[rest]
            found[rest[nearer]] = tried[nearer]
        return found


class _Steps:
    """How long each image's steps are, and whether they still help."""

    def __init__(self, count: int, iterations: int, missing: Vector) -> None:
        self.lengths = np.ones((count, 1, 1, 1), np.float32)
        self.helped = np.zeros(count, np.int64)
        self._checkpoints = _checkpoints(iterations)
        self._last, self._least = 0, missing.copy()
        self._was_halved = np.zeros(count, np.bool_)

    def check(self, iteration: int, least: Vector) -> NDArray[np.bool_]:
        """At a checkpoint, halve the steps of images that they no longer help; elsewhere nothing.

        Returns:
            Whose steps were halved.
        """
        if iteration not in self._checkpoints:
            return np.zeros(len(least), np.bool_)
        seldom = self.helped < _IMPROVING * (iteration - self._last)
        stuck = ~self._was_halved & (least >= self._least)
        halved = seldom | stuck
        self.lengths[halved] /= 2
        self.helped[:] = 0
        self._last, self._least, self._was_halved = iteration, least.copy(), halved
        return np.asarray(halved)


def _checkpoints(iterations: int) -> set[int]:
    """After which iterations steps are looked at."""
    before, place, found = 0.0, _FIRST_CHECK, set[int]()
    while place < 1:
        found.add(math.ceil(place * iterations))
        before, place = place, place + max(place - before - _SHORTER, _LEAST)
    return found
