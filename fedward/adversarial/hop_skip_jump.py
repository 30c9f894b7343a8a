"""The attack `hop-skip-jump`: along the border between decisions, to a point near the image.

Chen, Jordan and Wainwright 2020, "HopSkipJumpAttack: a query-efficient decision-based attack".
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedward.adversarial.attack import Aim, Attack
from fedward.adversarial.victim import Victim
from fedward.tables import Between
from fedward.types import Vector

_HALVINGS = 12  # of the way between an image and one across the border
_FIRST_PROBE = 0.1  # how far from the border decisions are asked for at first
_PROBE = 0.01  # and then, in distances from the image
_START_TRIES = 20  # images of noise, where no other image of the batch shows the wanted decision


@dataclass(frozen=True)
class HopSkipJumpOptions:
    """Options of `hop-skip-jump`.

    Attributes:
        iterations: How often the border's direction is estimated.
        evaluations: The most images that one estimate may take.
        first_evaluations: Images that the first estimate takes; later ones take more, by the root of their number.
    """

    iterations: Annotated[int, Between(1, 1_000)] = 10
    evaluations: Annotated[int, Between(2, 100_000)] = 1_000
    first_evaluations: Annotated[int, Between(2, 100_000)] = 100


@dataclass(frozen=True)
class HopSkipJump(Attack):
    """Needs decisions only. Nothing bounds the change; it makes the change's L2 norm small.

    It starts from the nearest image of the batch that shows the wanted decision, else from noise that does; where
    neither is found, the image stays as it is.
    """

    options: HopSkipJumpOptions
    name: ClassVar[str] = "hop-skip-jump"
    about: ClassVar[str] = "along the border between decisions, by decisions alone"
    needs: ClassVar[str] = "decisions"

    def perturb(self, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator) -> Vector:
        """See `Attack.perturb`."""
        found = pixels.copy()
        decisions = victim.decisions(pixels)
        for index in np.flatnonzero(~aim.reached(decisions)):
            one = _OneImage(victim, pixels[index], aim.some(slice(index, index + 1)))
            start = one.nearest(pixels, decisions)
            start = one.noise(rng) if start is None else start
            if start is not None:
                found[index] = self._walk(one, start, rng)
        return found

    def _walk(self, one: "_OneImage", start: Vector, rng: np.random.Generator) -> Vector:
        """From an image across the border to one that is close to the original."""
        point = one.border(start)
        for iteration in range(1, self.options.iterations + 1):
            away = float(np.linalg.norm(point - one.original))
            if away == 0.0:
                break
            probe = _FIRST_PROBE if iteration == 1 else _PROBE * away
            count = min(self.options.evaluations, round(self.options.first_evaluations * iteration**0.5))
            direction = one.normal(point, max(probe, 1e-4), count, rng)
            step = away / iteration**0.5
            while step > 1e-6 and not one.across((point + step * direction)[None])[0]:
                step /= 2
            if step > 1e-6:
                point = one.border(np.clip(point + np.float32(step) * direction, 0, 1))
        return point


@dataclass(frozen=True)
class _OneImage:
    """The border around one image.

    Attributes:
        victim: Whose decisions count.
        original: float32, shape (height, width, 1).
        aim: For this one image.
    """

    victim: Victim
    original: Vector
    aim: Aim

    def across(self, images: Vector) -> NDArray[np.bool_]:
        """Which of some images show what the aim wants."""
        labels = np.repeat(self.aim.labels, len(images), axis=0)
        clipped = np.clip(images, 0, 1, dtype=np.float32)
        return Aim(labels, self.aim.toward).reached(self.victim.decisions(clipped))

    def nearest(self, pool: Vector, decisions: NDArray[np.bool_]) -> Vector | None:
        """The nearest image of a pool that shows what the aim wants."""
        fitting = np.flatnonzero(Aim(np.repeat(self.aim.labels, len(pool), axis=0), self.aim.toward).reached(decisions))
        if not len(fitting):
            return None
        away = ((pool[fitting] - self.original) ** 2).sum(axis=(1, 2, 3))
        nearest: Vector = pool[fitting[away.argmin()]]
        return nearest

    def noise(self, rng: np.random.Generator) -> Vector | None:
        """Noise that shows what the aim wants, if some is found."""
        tried = rng.uniform(0, 1, (_START_TRIES, *self.original.shape)).astype(np.float32)
        fitting = np.flatnonzero(self.across(tried))
        return np.asarray(tried[fitting[0]]) if len(fitting) else None

    def border(self, far: Vector) -> Vector:
        """The point nearest to the original on the way to an image across the border, still across."""
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self.across(self._blend(far, middle)[None])[0]:
                high = middle
            else:
                low = middle
        return self._blend(far, high)

    def normal(self, point: Vector, probe: float, count: int, rng: np.random.Generator) -> Vector:
        """The direction in which the border is crossed, estimated from decisions around a point; 1 long."""
        around = rng.standard_normal((count, *point.shape)).astype(np.float32)
        around /= np.sqrt((around**2).sum(axis=(1, 2, 3), keepdims=True))
        probes = np.clip(point + np.float32(probe) * around, 0, 1)
        around = (probes - point) / np.float32(probe)
        signs = np.where(self.across(probes), 1.0, -1.0).astype(np.float32)
        weights = signs - signs.mean() if abs(signs.mean()) < 1 else signs
        direction = np.tensordot(weights, around, axes=1)
        return np.asarray(direction / max(float(np.linalg.norm(direction)), 1e-12), np.float32)

    def _blend(self, far: Vector, share: float) -> Vector:
        return np.asarray((1 - share) * self.original + share * far, np.float32)
