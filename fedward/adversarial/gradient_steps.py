"""Attacks that follow the gradient of the loss: `fgsm`, `i-fgsm`, `pgd` and `mi-fgsm`, within a bound a pixel."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from fedward.adversarial.attack import Aim, Attack, BoundedOptions
from fedward.adversarial.victim import Victim
from fedward.tables import Between
from fedward.types import Vector


@dataclass(frozen=True)
class IteratedOptions(BoundedOptions):
    """Options of attacks that take several steps.

    Attributes:
        iterations: How many.
        step: How far each goes, in shares of `eps`.
    """

    iterations: Annotated[int, Between(1, 10_000)] = 30
    step: Annotated[float, Between(0, 2, above=True)] = 0.1


@dataclass(frozen=True)
class MomentumOptions(IteratedOptions):
    """Options of `mi-fgsm`.

    Attributes:
        decay: What remains of the direction from one step to the next.
    """

    decay: Annotated[float, Between(0, 1)] = 1.0


@dataclass(frozen=True)
class Fgsm(Attack):
    """One step of the whole bound along the gradient's sign (Goodfellow et al. 2015)."""

    options: BoundedOptions
    name: ClassVar[str] = "fgsm"
    about: ClassVar[str] = "one step along the gradient's sign"
    needs: ClassVar[str] = "gradients"

    def perturb(self, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator) -> Vector:  # noqa: ARG002
        """See `Attack.perturb`."""
        return _moved(pixels, aim.uphill(victim, pixels), self.options.eps)


@dataclass(frozen=True)
class IteratedFgsm(Attack):
    """Several shorter steps (Kurakin et al. 2017)."""

    options: IteratedOptions
    name: ClassVar[str] = "i-fgsm"
    about: ClassVar[str] = "several short steps along the gradient's sign"
    needs: ClassVar[str] = "gradients"

    def perturb(self, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator) -> Vector:
        """See `Attack.perturb`."""
        options, eps = self.options, self.options.eps
        found = self._start(pixels, rng)
        direction = np.zeros_like(pixels)
        for _ in range(options.iterations):
            direction = self._direction(direction, aim.uphill(victim, found))
            found = within(_moved(found, direction, options.step * eps), pixels, eps)
        return found

    def _start(self, pixels: Vector, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - drawn from by `pgd`
        return pixels

    def _direction(self, before: Vector, gradient: Vector) -> Vector:  # noqa: ARG002 - remembered by `mi-fgsm`
        return gradient


@dataclass(frozen=True)
class Pgd(IteratedFgsm):
    """`i-fgsm` from a random place within the bound (Madry et al. 2018)."""

    name: ClassVar[str] = "pgd"
    about: ClassVar[str] = "as i-fgsm, from a random start"

    def _start(self, pixels: Vector, rng: np.random.Generator) -> Vector:
        eps = self.options.eps
        return within(pixels + rng.uniform(-eps, eps, pixels.shape).astype(np.float32), pixels, eps)


@dataclass(frozen=True)
class MomentumFgsm(IteratedFgsm):
    """`i-fgsm` along a decaying sum of gradients, each brought to the same size (Dong et al. 2018)."""

    options: MomentumOptions
    name: ClassVar[str] = "mi-fgsm"
    about: ClassVar[str] = "as i-fgsm, with momentum"

    def _direction(self, before: Vector, gradient: Vector) -> Vector:
        size = np.abs(gradient).mean(axis=(1, 2, 3), keepdims=True)
        return np.asarray(self.options.decay * before + gradient / np.maximum(size, 1e-30), np.float32)


def within(found: Vector, pixels: Vector, eps: float) -> Vector:
    """Images brought back to at most `eps` from others, and to values in [0, 1]."""
    near = np.clip(found, pixels - np.float32(eps), pixels + np.float32(eps))
    return np.asarray(np.clip(near, 0, 1), np.float32)


def _moved(pixels: Vector, direction: Vector, far: float) -> Vector:
    return np.asarray(pixels + np.float32(far) * np.sign(direction), np.float32)
