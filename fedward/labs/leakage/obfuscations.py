"""What is done to an update before the server sees it: compression that is said to hide, noise, sums, encryption.

The harness computes the updates; an obfuscation only says what the server gets of them.

References:
    Alistarh et al. 2017, "QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding".
    Yue, Jin, Wong, Baron and Dai 2023, "Gradient Obfuscation Gives a False Sense of Security in Federated Learning".
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.serialized import MODULUS, residues_of
from fedward.labs.leakage.networks import Tensors
from fedward.privacy.mechanism import clip
from fedward.privacy.secret_noise import noised, room_for_rounding
from fedward.types import Vector

PLAIN, NOISE_ONLY = "none", "noise-only"


class Encryption(Protocol):
    """The federation's real encryption, which this package may not import."""

    def __call__(
        self, updates: Sequence[Vector], rng: np.random.Generator
    ) -> tuple[tuple[bytes, ...], NDArray[np.float64]]:
        """Encrypt the updates of so many hospitals of equal weight.

        Returns:
            The first hospital's ciphertexts, which the server gets, and the mean that opening their sum gives.
        """
        ...


class Obfuscation(ABC):
    """What the server sees of hospitals' updates.

    Attributes:
        hospitals: How many hospitals' updates are in what is seen.
        sparse: Whether zeros in what is seen stand for values that were left out.
    """

    hospitals: int = 1
    sparse: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, updates: Sequence[Tensors], rng: np.random.Generator) -> Tensors:
        """What the server sees.

        Args:
            updates: Of `hospitals` hospitals; the attacked one's is the first.
            rng: Source of draws.

        Returns:
            Finite values in the shapes of an update.
        """


class _EachTensor(Obfuscation):
    """An obfuscation of one hospital's update, tensor by tensor."""

    def __call__(self, updates: Sequence[Tensors], rng: np.random.Generator) -> Tensors:
        """See `Obfuscation`."""
        return tuple(np.asarray(self.of(tensor, rng), np.float32).reshape(tensor.shape) for tensor in updates[0])

    @abstractmethod
    def of(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
        """One tensor of it."""


@dataclass(frozen=True)
class Nothing(Obfuscation):
    """The null defense: the update as it is."""

    def __call__(self, updates: Sequence[Tensors], rng: np.random.Generator) -> Tensors:  # noqa: ARG002 - draws nothing
        """See `Obfuscation`."""
        return updates[0]


@dataclass(frozen=True)
class NoiseOnly(_EachTensor):
    """The null attack's row: Gaussian noise of the update's size in its place."""

    def of(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
        """See `_EachTensor`."""
        return _size(tensor) * rng.standard_normal(tensor.shape)


@dataclass(frozen=True)
class Qsgd(_EachTensor):
    """QSGD by the largest magnitude of a tensor: `levels` - 1 steps up to it, rounded at random.

    Guarantees:
        1. The expectation of what is seen is the tensor.
    """

    levels: int

    def of(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
        """See `_EachTensor`."""
        largest, steps = float(np.abs(tensor).max()), self.levels - 1
        if largest == 0:
            return tensor.astype(np.float64)
        scaled = np.abs(tensor.astype(np.float64)) / largest * steps
        below = np.floor(scaled)
        up = rng.random(tensor.shape) < scaled - below
        return np.asarray(np.sign(tensor) * largest / steps * (below + up), np.float64)


@dataclass(frozen=True)
class TopK(_EachTensor):
    """The largest magnitudes of each tensor: this share of them, at least one; the others are left out."""

    share: float
    sparse: ClassVar[bool] = True

    def of(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:  # noqa: ARG002 - draws nothing
        """See `_EachTensor`."""
        kept = kept_of(tensor.size, self.share)
        rows = np.argsort(-np.abs(tensor.ravel()), kind="stable")[:kept]
        seen = np.zeros(tensor.size, np.float64)
        seen[rows] = tensor.ravel()[rows]
        return seen.reshape(tensor.shape)


@dataclass(frozen=True)
class UniformRounding(_EachTensor):
    """Each value at the nearest of `levels` even steps from the smallest to the largest of its tensor."""

    levels: int

    def of(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:  # noqa: ARG002 - draws nothing
        """See `_EachTensor`."""
        low, high = float(tensor.min()), float(tensor.max())
        step = (high - low) / (self.levels - 1)
        return low + step * np.rint((tensor.astype(np.float64) - low) / step) if step > 0 else tensor.astype(np.float64)


@dataclass(frozen=True)
class Sign(_EachTensor):
    """The sign of each value, times the mean magnitude of its tensor."""

    def of(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:  # noqa: ARG002 - draws nothing
        """See `_EachTensor`."""
        return np.asarray(np.sign(tensor) * np.abs(tensor.astype(np.float64)).mean(), np.float64)


@dataclass(frozen=True)
class GaussianNoise(_EachTensor):
    """Gaussian noise without clipping: deviation `sigma` times the root mean square of the tensor."""

    sigma: float

    def of(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
        """See `_EachTensor`."""
        return tensor + self.sigma * _size(tensor) * rng.standard_normal(tensor.shape)


@dataclass(frozen=True)
class ClippedNoise(Obfuscation):
    """The federation's Gaussian mechanism on the whole update: clip its norm, add noise to every value.

    Attributes:
        clip_norm: Largest L2 norm.
        noise_multiplier: Deviation of the noise over the clip norm.
    """

    clip_norm: float
    noise_multiplier: float

    def __call__(self, updates: Sequence[Tensors], rng: np.random.Generator) -> Tensors:
        """See `Obfuscation`."""
        whole = joined(updates[0])
        room = room_for_rounding(self.clip_norm, self.noise_multiplier, whole.size)
        return split(noised(clip(whole, room), self.clip_norm, self.noise_multiplier, rng.bytes), updates[0])


@dataclass(frozen=True)
class SumOf(Obfuscation):
    """The mean of several hospitals' updates, as a secure sum shows it."""

    hospitals: int

    def __call__(self, updates: Sequence[Tensors], rng: np.random.Generator) -> Tensors:  # noqa: ARG002 - draws nothing
        """See `Obfuscation`."""
        return split(np.mean([joined(update) for update in updates], axis=0), updates[0])


@dataclass(frozen=True)
class Ciphertext(Obfuscation):
    """What the server really gets: ciphertexts. The attacker reads their residues as if they were numbers."""

    encryption: Encryption

    def __call__(self, updates: Sequence[Tensors], rng: np.random.Generator) -> Tensors:
        """See `Obfuscation`."""
        chunks, _ = self.encryption([joined(update) for update in updates], rng)
        residues = np.concatenate([residues_of(chunk) for chunk in chunks]).astype(np.float64)
        values = 2.0 * residues / MODULUS - 1.0
        size = joined(updates[0]).size
        return split(np.resize(values, size), updates[0])  # two parameters or more share a residue: read again


@dataclass(frozen=True)
class OpenedSum(Obfuscation):
    """What opening the sum of several hospitals' ciphertexts gives, through the federation's real encryption."""

    encryption: Encryption
    hospitals: int

    def __call__(self, updates: Sequence[Tensors], rng: np.random.Generator) -> Tensors:
        """See `Obfuscation`."""
        _, mean = self.encryption([joined(update) for update in updates], rng)
        return split(mean, updates[0])


def obfuscations(encryption: Encryption, presets: Mapping[str, tuple[float, float]]) -> Mapping[str, Obfuscation]:
    """All obfuscations by name.

    Args:
        encryption: The federation's.
        presets: By the names of private presets, clip norm and noise multiplier of one step.
    """
    return {
        PLAIN: Nothing(),
        "qsgd-16": Qsgd(16),
        "qsgd-4": Qsgd(4),
        "top-10%": TopK(0.1),
        "top-1%": TopK(0.01),
        "uniform-16": UniformRounding(16),
        "sign": Sign(),
        "noise-0.1": GaussianNoise(0.1),
        "noise-1": GaussianNoise(1.0),
        "clip-noise": ClippedNoise(1.0, 0.25),
        **{name: ClippedNoise(*numbers) for name, numbers in presets.items()},
        "sum-2": SumOf(2),
        "sum-5": SumOf(5),
        "ckks": Ciphertext(encryption),
        "ckks-opened-5": OpenedSum(encryption, 5),
        NOISE_ONLY: NoiseOnly(),
    }


def kept_of(size: int, share: float) -> int:
    """How many values of a tensor `TopK` keeps."""
    return max(1, int(share * size))


def joined(tensors: Tensors) -> Vector:
    """An update as one vector."""
    return np.concatenate([tensor.ravel() for tensor in tensors])


def split(values: NDArray[np.float64] | Vector, like: Tensors) -> Tensors:
    """A vector as tensors of given shapes."""
    ends = np.cumsum([tensor.size for tensor in like])[:-1]
    parts = zip(np.split(values, ends), like, strict=True)
    return tuple(np.asarray(part, np.float32).reshape(tensor.shape) for part, tensor in parts)


def _size(tensor: NDArray[np.float32]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(tensor.astype(np.float64) ** 2)))
