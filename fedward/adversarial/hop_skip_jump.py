"""The attack `hop-skip-jump`: along the border between decisions, to a point near the image.

Chen, Jordan and Wainwright 2020, "HopSkipJumpAttack: a query-efficient decision-based attack". The option
`coarse`: Li, Xu, Zhang, Yang and Li 2020, "QEBA: query-efficient boundary-based blackbox attack".
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
_SHORTEST = 1e-6  # way along a direction, below which a point stays
_START_TRIES = 20  # images of noise, where no other image of the batch shows the wanted decision


@dataclass(frozen=True)
class HopSkipJumpOptions:
    """Options of `hop-skip-jump`.

    Attributes:
        iterations: How often the border's direction is estimated.
        evaluations: The most images that one estimate may take.
        first_evaluations: Images that the first estimate takes; later ones take more, by the root of their number.
        coarse: Side of the squares of pixels that change alike in an estimate. 1 is as published; 2 comes about as near
            with half of the evaluations (benchmarks/input_attacks.py), as what a CNN looks at is wider than a pixel.
    """

    iterations: Annotated[int, Between(1, 1_000)] = 10
    evaluations: Annotated[int, Between(2, 100_000)] = 1_000
    first_evaluations: Annotated[int, Between(2, 100_000)] = 100
    coarse: Annotated[int, Between(1, 64)] = 1


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
        found, decisions = pixels.copy(), victim.decisions(pixels)
        pending = np.flatnonzero(~aim.reached(decisions))
        border = _Border(victim, pixels[pending], aim.some(pending))
        tried = ((at, border.start(at, pixels, decisions, rng)) for at in range(len(pending)))
        starts = {at: start for at, start in tried if start is not None}
        if starts:
            some = np.array(list(starts))
            found[pending[some]] = self._walk(border.some(some), np.stack(list(starts.values())), rng)
        return found

    def _walk(self, border: "_Border", starts: Vector, rng: np.random.Generator) -> Vector:
        """From images across the border to such as are close to the originals, all in step."""
        points = border.between(starts, np.arange(len(starts)))
        for iteration in range(1, self.options.iterations + 1):
            away = _norms(points - border.originals)
            probes = np.full(len(points), _FIRST_PROBE) if iteration == 1 else np.maximum(_PROBE * away, 1e-4)
            count = min(self.options.evaluations, round(self.options.first_evaluations * iteration**0.5))
            drawn = (self._around(count, points.shape[1:], rng) for _ in points)
            directions = np.stack([border.normal(at, points[at], probes[at], each) for at, each in enumerate(drawn)])
            moved, steps = border.steps(points, directions, away / iteration**0.5)
            ahead = np.clip(points[moved] + steps[moved, None, None, None] * directions[moved], 0, 1)
            points[moved] = border.between(ahead, moved)
        return points

    def _around(self, count: int, shape: tuple[int, ...], rng: np.random.Generator) -> Vector:
        """Random directions, each 1 long: shape (count, height, width, 1)."""
        height, width, channels = shape
        side = self.options.coarse
        squares = rng.standard_normal((count, -(-height // side), -(-width // side), channels), np.float32)
        around = squares.repeat(side, 1).repeat(side, 2)[:, :height, :width]
        return np.asarray(around / _norms(around)[:, None, None, None], np.float32)


def _norms(images: Vector) -> NDArray[np.float32]:
    """Length of each image as a vector."""
    return np.asarray(np.sqrt((images**2).sum(axis=(1, 2, 3))), np.float32)


@dataclass(frozen=True)
class _Border:
    """The border around each of some images. One pass of the classifier asks about all of them: single ones cost more.

    Attributes:
        victim: Whose decisions count.
        originals: float32, shape (n, height, width, 1).
        aim: For these.
    """

    victim: Victim
    originals: Vector
    aim: Aim

    def across(self, images: Vector, of: NDArray[np.int_]) -> NDArray[np.bool_]:
        """Which of some images show what the aim wants of the originals at `of`, one for each."""
        clipped = np.clip(images, 0, 1, dtype=np.float32)
        return self.aim.some(of).reached(self.victim.decisions(clipped))

    def some(self, of: NDArray[np.int_]) -> "_Border":
        """The border around some of the originals."""
        return _Border(self.victim, self.originals[of], self.aim.some(of))

    def start(
        self, at: int, pool: Vector, decisions: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float32] | None:
        """An image across the border of the original at `at`: the nearest of a pool, else noise, else None."""
        fitting = np.flatnonzero(self.aim.some(np.full(len(pool), at)).reached(decisions))
        if len(fitting):
            return np.asarray(pool[fitting[_norms(pool[fitting] - self.originals[at]).argmin()]])
        tried = rng.uniform(0, 1, (_START_TRIES, *self.originals.shape[1:])).astype(np.float32)
        fitting = np.flatnonzero(self.across(tried, np.full(len(tried), at)))
        return np.asarray(tried[fitting[0]]) if len(fitting) else None

    def between(self, far: Vector, of: NDArray[np.int_]) -> Vector:
        """On the way from each image across the border to its original, at `of`, the nearest that is still across."""
        low = np.zeros((len(far), 1, 1, 1), np.float32)
        high = np.ones_like(low)
        for _ in range(_HALVINGS):
            middle = np.asarray((low + high) / 2, np.float32)
            across = self.across(self._blend(far, middle, of), of)[:, None, None, None]
            low, high = np.where(across, low, middle), np.where(across, middle, high)
        return self._blend(far, high, of)

    def steps(
        self, points: Vector, directions: Vector, lengths: NDArray[np.float32]
    ) -> tuple[NDArray[np.int_], NDArray[np.float32]]:
        """How far each point can go along its direction and stay across: its length, halved until it does.

        Returns:
            Which points can go at all, and all lengths.
        """
        lengths = lengths.copy()
        pending = np.flatnonzero(lengths > _SHORTEST)
        while len(pending):
            ahead = points[pending] + lengths[pending, None, None, None] * directions[pending]
            pending = pending[~self.across(ahead, pending)]
            lengths[pending] /= 2
            pending = pending[lengths[pending] > _SHORTEST]
        return np.flatnonzero(lengths > _SHORTEST), lengths

    def normal(self, at: int, point: Vector, probe: float, around: Vector) -> Vector:
        """The direction in which the border is crossed, 1 long, by decisions at some ways around a point."""
        probes = np.clip(point + np.float32(probe) * around, 0, 1)
        around = (probes - point) / np.float32(probe)
        signs = np.where(self.across(probes, np.full(len(around), at)), 1.0, -1.0).astype(np.float32)
        weights = signs - signs.mean() if abs(signs.mean()) < 1 else signs
        # Not a product by BLAS: its threads wait busily afterwards, while the classifier needs the processor.
        direction = np.einsum("n,nhwc->hwc", weights, around)
        return np.asarray(direction / max(float(np.linalg.norm(direction)), 1e-12), np.float32)

    def _blend(self, far: Vector, share: Vector, of: NDArray[np.int_]) -> Vector:
        return np.asarray((1 - share) * self.originals[of] + share * far, np.float32)
