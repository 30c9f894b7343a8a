"""What an attack on a classifier's input is: it is told what to reach, and proposes other images."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedward.adversarial.victim import Victim
from fedward.tables import Between
from fedward.types import Vector


@dataclass(frozen=True)
class Aim:
    """What an attack is to reach.

    Attributes:
        labels: float32, shape (n, findings), each 0 or 1.
        toward: Whether decisions are to become these labels, all of them; else they are to leave them, any of them.
            With one finding, going toward a label is leaving the other one.
    """

    labels: Vector
    toward: bool = False

    def some(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> "Aim":
        """The aim of some of the images."""
        return Aim(self.labels[rows], self.toward)

    def missing(self, margins: Vector) -> Vector:
        """How far each image is from the aim, in logits: float32, shape (n,); reached where it is not above 0."""
        signed = np.where(self.labels > 0, margins, -margins)
        return np.asarray(-signed.min(axis=1) if self.toward else signed.min(axis=1), np.float32)

    def reached(self, decisions: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which images' decisions are as the aim wants: shape (n,)."""
        right = decisions == (self.labels > 0)
        return np.asarray(right.all(axis=1) if self.toward else ~right.all(axis=1))

    def uphill(self, victim: Victim, pixels: Vector) -> Vector:
        """Where to move pixels to come nearer to the aim: the loss's gradient, with the sign that the aim needs."""
        return self.missing_and_uphill(victim, pixels)[1]

    def missing_and_uphill(self, victim: Victim, pixels: Vector) -> tuple[Vector, Vector]:
        """How far images are from the aim, and where to move their pixels to come nearer, in one pass."""
        margins, gradient = victim.margins_and_gradient(pixels, self.labels)
        return self.missing(margins), -gradient if self.toward else gradient


@dataclass(frozen=True)
class BoundedOptions:
    """Options of attacks that change each pixel by no more than a bound.

    Attributes:
        eps: The bound, where images go from 0 to 1.
    """

    eps: Annotated[float, Between(0, 1)] = 0.02


@dataclass(frozen=True)
class Attack(ABC):
    """Changes images so that a classifier decides otherwise.

    Whether it did, and whether it kept to its bound, is for `harness.craft` to see to.

    Attributes:
        options: A dataclass whose defaults are the attack's.
        name: Chooses the attack.
        about: What it is, in one phrase.
        needs: What it takes of the classifier: "gradients", "scores" or "decisions".
    """

    options: Any
    name: ClassVar[str]
    about: ClassVar[str]
    needs: ClassVar[str]

    @property
    def bound(self) -> float | None:
        """The most that a pixel may change by; None where nothing bounds it but [0, 1]."""
        return getattr(self.options, "eps", None)

    @abstractmethod
    def perturb(self, victim: Victim, pixels: Vector, aim: Aim, rng: np.random.Generator) -> Vector:
        """Other images in place of these.

        Args:
            victim: The classifier to mislead.
            pixels: float32, shape (n, height, width, 1), values in [0, 1]; not to be written to.
            aim: What to reach, for these images.
            rng: Where an attack draws.

        Returns:
            float32, shape of `pixels`.
        """
