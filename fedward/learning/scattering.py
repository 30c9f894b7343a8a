"""Wavelet scattering: fixed image features, from which a linear layer classifies without a learned network.

A wavelet transform, its modulus, both again, and a local mean: what is left moves little when the image is shifted
or bent a little, and nothing of it is learned from patients, so it costs no privacy (Tramer and Boneh 2021,
"Differentially Private Learning Needs Better Features"). Filters and borders are those of kymatio (Andreux et al.
2020); tests compare the features with kymatio's.

    order 0   x * phi                                1 channel
    order 1   |x * psi_a| * phi                      one for each scale and angle: 24
    order 2   ||x * psi_a| * psi_b| * phi            one for each pair with b coarser than a: 192

References: Mallat 2012, "Group Invariant Scattering"; Bruna and Mallat 2013, "Invariant Scattering Convolution
Networks".
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.phantoms import list_phantoms
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.types import Vector

SCALES = 3  # J: features are means over about 2**J pixels
ANGLES = 8  # L, over half a turn
STRIDE = 1 << SCALES
CHANNELS = 1 + SCALES * ANGLES + SCALES * (SCALES - 1) // 2 * ANGLES**2
GROUP_CHANNELS = 31  # normalized together; divides the 217 channels
GROUP_EPSILON = 1e-5
PHANTOMS, PHANTOM_SEED = 64, 1  # drawn images whose mean features are the center; twice as many change little
BATCH = 8  # images that `features` takes at a time: always as many, so it is compiled once, and few enough for caches
SMALLEST_SIZE, LARGEST_SIZE = 16, 512  # pixels

# The mother wavelet: deviation in pixels, radians per pixel, and how much longer it is across than along its wave.
_SIGMA, _FREQUENCY, _SLANT = 0.8, 0.75 * np.pi, 4.0 / ANGLES

Filters = NDArray[np.float32]


@dataclass(frozen=True)
class FilterBank:
    """The filters for one image size.

    Attributes:
        border: Pixels mirrored before and after each row and column.
        padded: Side of the image with its borders in pixels; a multiple of 2**SCALES.
        psi: Wavelets in the frequency domain by (scale, halvings of the grid): float32, shape (angles, side, side),
            side = padded / 2**halvings. They are real: the wavelets are symmetric.
        phi: The local mean by halvings: float32, shape (features' side, padded / 2**halvings); a matrix that means
            over a row, takes every 2**(SCALES - halvings)-th and leaves the border out.
    """

    border: tuple[int, int]
    padded: int
    psi: dict[tuple[int, int], Filters]
    phi: tuple[Filters, ...]

    @property
    def side(self) -> int:
        """Height and width of the features."""
        return self.padded // STRIDE - 2


@functools.lru_cache(maxsize=4)
def filter_bank(size: int) -> FilterBank:
    """The filters for images of a size, computed once.

    Args:
        size: Height and width in pixels.

    Raises:
        ValueError: the size is not between `SMALLEST_SIZE` and `LARGEST_SIZE`.
    """
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise ValueError(f"scattering takes images of {SMALLEST_SIZE} to {LARGEST_SIZE} pixels, not {size}")
    # At least one feature's width of border on each side, so that no mean reaches around to the other side.
    padded = (size // STRIDE + 2) * STRIDE
    border = ((padded - size) // 2, (padded - size + 1) // 2)
    psi = {}
    for scale in range(SCALES):
        full = np.stack([_morlet(padded, scale, angle) for angle in range(ANGLES)])
        for halvings in range(scale + 1):
            band = _low_band(padded, halvings)
            psi[scale, halvings] = full[:, band[:, None], band].astype(np.float32)
    return FilterBank(border, padded, psi, tuple(_mean_matrix(padded, halvings) for halvings in range(SCALES)))


def _morlet(side: int, scale: int, angle: int) -> NDArray[np.float64]:
    """A wave under a Gaussian, less so much of the Gaussian that its mean is zero: its spectrum, shape (side, side)."""
    direction = (ANGLES / 2 - 1 - angle) * np.pi / ANGLES
    sigma, frequency = _SIGMA * 2**scale, _FREQUENCY / 2**scale
    axis = np.arange(-2 * side, 3 * side)  # five periods: what reaches over the edge comes in on the other side
    row, column = axis[:, None], axis[None, :]
    along = row * np.cos(direction) + column * np.sin(direction)
    across = column * np.cos(direction) - row * np.sin(direction)
    envelope = np.exp(-(along**2 + (_SLANT * across) ** 2) / (2 * sigma**2)) * _SLANT / (2 * np.pi * sigma**2)
    gaussian, gabor = (_wrapped(values, side) for values in (envelope, envelope * np.exp(1j * frequency * along)))
    return np.asarray(np.fft.fft2(gabor - gaussian * (gabor.sum() / gaussian.sum())).real)


def _wrapped(values: NDArray[Any], side: int) -> NDArray[Any]:
    """Sum the five by five periods into one."""
    return np.asarray(values.reshape(5, side, 5, side).sum(axis=(0, 2)))


def _low_band(side: int, halvings: int) -> NDArray[np.intp]:
    """Where the frequencies that a coarser grid still has stand in a spectrum of `side`."""
    half = side >> (halvings + 1)
    return np.concatenate([np.arange(half), np.arange(side - half, side)])


def _mean_matrix(padded: int, halvings: int) -> Filters:
    """The local mean of a row on a grid that was halved some times, taken at every feature's place."""
    sigma = _SIGMA * 2 ** (SCALES - 1)
    axis = np.arange(-2 * padded, 3 * padded)
    gaussian = (np.exp(-(axis**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))).reshape(5, padded).sum(axis=0)
    spectrum = np.fft.fft(gaussian)[_low_band(padded, halvings)]
    means = np.fft.ifft(spectrum[:, None] * np.fft.fft(np.eye(padded >> halvings), axis=0), axis=0).real
    return means[:: STRIDE >> halvings][1:-1].astype(np.float32)


def feature_count(size: int) -> int:
    """Number of features of an image: 13,888 at 64 by 64 pixels."""
    return CHANNELS * filter_bank(size).side ** 2


@keras.saving.register_keras_serializable(package="fedward")
class Scattering(keras.layers.Layer):  # type: ignore[misc]
    """Layer from images, shape (n, size, size, 1), to features, shape (n, `feature_count(size)`); nothing is trained.

    The features that all radiographs have in common are subtracted, as far as drawn phantoms have them, too
    (`phantom_center`). Else these common features would fill most of every gradient: after clipping and noise, little
    would be left of what tells images apart (docs/adr/0016). The center is saved with the model.

    Guarantees:
        1. An image's features depend on no other image and on nothing learned.
        2. The L2 norm of an image's features is 1.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take the center for this image size."""
        center = phantom_center(int(input_shape[1] or 0))
        self.center = self.add_weight(
            shape=center.shape, initializer=lambda *_, **__: tf.constant(center), trainable=False, name="center"
        )

    def call(self, images: Any) -> Any:
        """Scatter a batch, normalize each image by itself, and center it."""
        return centered(normalize(scatter(images[..., 0])), self.center)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Shape of the features."""
        return input_shape[0], feature_count(int(input_shape[1] or 0))


def features(pixels: Vector) -> Vector:
    """The output of the layer `Scattering`, by compiled code, in less than half of the layer's time.

    Args:
        pixels: float32, shape (n, size, size, 1), values in [0, 1].

    Returns:
        float32, shape (n, `feature_count(size)`).
    """
    center = tf.constant(phantom_center(pixels.shape[1]))
    return _in_parts(pixels, lambda part: centered(_compiled(pixels.shape[1])(part), center))


@functools.lru_cache(maxsize=4)
def phantom_center(size: int) -> Vector:
    """Mean features of drawn chest phantoms before they are centered: no patient's image has a part in it.

    Args:
        size: Height and width in pixels.

    Returns:
        float32, shape (`feature_count(size)`,); not to be written to.
    """
    phantoms = np.asarray(list_phantoms(PHANTOMS, size, PHANTOM_SEED).pixels, np.float32) / np.float32(255)
    rows = _in_parts(phantoms[..., None], _compiled(size))
    center: Vector = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    center.flags.writeable = False
    return center


def _in_parts(pixels: Vector, function: Callable[[Any], Any]) -> Vector:
    """Apply a function to `BATCH` images at a time, the last ones filled up with black."""
    rows = np.empty((len(pixels), feature_count(pixels.shape[1])), np.float32)
    for start in range(0, len(pixels), BATCH):
        part = pixels[start : start + BATCH]
        missing = np.zeros((BATCH - len(part), *pixels.shape[1:]), np.float32)
        rows[start : start + BATCH] = function(tf.constant(np.concatenate([part, missing])))[: len(part)]
    return rows


@functools.lru_cache(maxsize=4)
def _compiled(size: int) -> Any:
    """Scattering and normalization for one batch of one size, as machine code; compiling takes some seconds."""
    signature = [tf.TensorSpec((BATCH, size, size, 1), tf.float32)]
    return tf.function(lambda images: normalize(scatter(images[..., 0])), input_signature=signature, jit_compile=True)


def centered(normalized: Any, center: Any) -> Any:
    """Subtract a center from each row of features, and scale the difference to length 1."""
    return tf.math.l2_normalize(normalized - center, axis=1)


def normalize(coefficients: Any) -> Any:
    """Bring the coefficients of different channels to one scale, within each image.

    Args:
        coefficients: As `scatter` gives them.

    Returns:
        A float32 tensor of shape (n, channels * side * side): each group of 31 channels less its mean and over its
        deviation (Wu and He 2018, "Group Normalization", without weights), then each image over its length.
    """
    size = int(np.prod(coefficients.shape[1:]))
    groups = tf.reshape(coefficients, (-1, CHANNELS // GROUP_CHANNELS, size * GROUP_CHANNELS // CHANNELS))
    mean, variance = tf.nn.moments(groups, axes=[2], keepdims=True)
    even = (groups - mean) * tf.math.rsqrt(variance + GROUP_EPSILON)
    return tf.math.l2_normalize(tf.reshape(even, (-1, size)), axis=1)


def scatter(images: Any) -> Any:
    """The scattering coefficients of a batch of images.

    Args:
        images: A float32 tensor of shape (n, size, size), values in [0, 1].

    Returns:
        A float32 tensor of shape (n, channels, side, side), channels in the order of the module's table; an angle
        runs faster than a scale.

    Raises:
        ValueError: the size is not one that `filter_bank` takes.
    """
    bank = filter_bank(int(images.shape[1]))
    padded = tf.pad(images, [[0, 0], bank.border, bank.border], mode="REFLECT")
    spectrum = tf.signal.fft2d(tf.cast(padded, tf.complex64))[:, None]
    zeroth, first, second = [_local_mean(padded[:, None], bank, 0)], [], []
    for fine in range(SCALES):
        moduli = _modulus(spectrum, bank.psi[fine, 0], fine)
        first.append(_local_mean(moduli, bank, fine))
        if fine + 1 == SCALES:
            break
        spectra = tf.signal.fft2d(tf.cast(moduli, tf.complex64))
        coarser = [
            _local_mean(_modulus(spectra[:, :, None], bank.psi[coarse, fine], coarse - fine), bank, coarse)
            for coarse in range(fine + 1, SCALES)
        ]
        # Kymatio's order: for each first wavelet all its second ones, by scale.
        second.append(_flat_channels(tf.concat(coarser, axis=2)))
    return tf.concat([*zeroth, *first, *second], axis=1)


def _modulus(spectrum: Any, wavelets: Filters, halvings: int) -> Any:
    """Filter with all wavelets of a scale, keep every 2**halvings-th pixel, and take the modulus."""
    # Keeping every k-th pixel folds the spectrum k times along each axis. Block by block, real and imaginary part
    # apart, this takes less than half of the time of one complex product and its mean.
    step, side = 1 << halvings, wavelets.shape[-1] >> halvings
    blocks = [
        (..., slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
        for row in range(step)
        for column in range(step)
    ]
    weights = [tf.constant(wavelets[block] / np.float32(step**2)) for block in blocks]
    parts = [
        functools.reduce(tf.add, [part[block] * weight for block, weight in zip(blocks, weights, strict=True)])
        for part in (tf.math.real(spectrum), tf.math.imag(spectrum))
    ]
    return tf.abs(tf.signal.ifft2d(tf.complex(*parts)))


def _local_mean(moduli: Any, bank: FilterBank, halvings: int) -> Any:
    """phi: (..., side, side) -> (..., features' side, features' side); the Gaussian is one along each axis in turn."""
    matrix, side = tf.constant(bank.phi[halvings].T), moduli.shape[-1]
    # Plain matrix products: TensorFlow's batched one with a shared small factor reads past its memory.
    by_column = tf.matmul(tf.reshape(moduli, (-1, side)), matrix)
    by_column = tf.transpose(tf.reshape(by_column, (-1, side, bank.side)), (0, 2, 1))
    both = tf.matmul(tf.reshape(by_column, (-1, side)), matrix)
    both = tf.transpose(tf.reshape(both, (-1, bank.side, bank.side)), (0, 2, 1))
    return tf.reshape(both, (-1, *moduli.shape[1:-2], bank.side, bank.side))


def _flat_channels(values: Any) -> Any:
    """(n, a, b, h, w) -> (n, a * b, h, w)."""
    shape = values.shape
    return tf.reshape(values, (-1, shape[1] * shape[2], shape[3], shape[4]))
