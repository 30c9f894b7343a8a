"""Quantize an update to whole numbers, pack these into a polynomial's coefficients, and unpack their sums exactly.

Each parameter becomes a signed whole number, a field. In the default plan two fields share a coordinate
(low + high * 2^field_bits), and a ciphertext has 4,096 coordinates: 8,192 parameters in 33 kB. A coordinate times
2^scale_bits is a coefficient of the polynomial that gets encrypted; the noise stays far below half of that factor, so
decoding rounds to the exact sum. `fedward.ciphertexts.plan` has the plans and their bounds.

Packing is linear, in whole numbers from end to end: nothing is rounded, so nothing of one summand is left in a sum
(docs/adr/0041).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.plan import PackingPlan as PackingPlan  # a part of this module's interface
from fedward.ciphertexts.plan import largest_coordinate, plan_widest
from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE
from fedward.errors import EncryptionError
from fedward.settings import EncryptionSettings, PrivacySettings, Settings
from fedward.types import Vector

NOISE_DEVIATIONS_IN_RANGE = 6  # of the privacy noise; a coordinate passes them once in 500 million

# Fields a coordinate and their width in bits, by encryption.preset; fewer bits where the roster needs it.
PRESETS = {"exact": (2, 20), "fine": (1, 36), "small": (3, 14)}

_SUM_REMEDY = "Vote to reject this aggregate: it was not made from this round's updates under this key."


@dataclass(frozen=True)
class Quantized:
    """A weighted update in whole numbers.

    Attributes:
        values: int64, shape (parameters,).
        saturated: Number of coordinates that were cut to the public range.
    """

    values: NDArray[np.int64]
    saturated: int


def value_range(encryption: EncryptionSettings, privacy: PrivacySettings) -> float:
    """The public range of an update's coordinates: from the settings, never from the data.

    The range is `encryption.value-range` except in mode `update`. There no coordinate of the clipped update exceeds the
    clip norm, and the noise exceeds 6 of its standard deviations about once in 500 million coordinates.
    """
    if privacy.mode != "update":
        return encryption.value_range
    return privacy.clip_norm * (1 + NOISE_DEVIATIONS_IN_RANGE * privacy.noise_multiplier)


def plan_packing(parameters: int, summands: int, settings: EncryptionSettings, value_range: float) -> PackingPlan:
    """The plan that the settings call for.

    Args:
        parameters: Length of the update.
        summands: Largest number of hospitals in a sum.
        settings: Gives the preset.
        value_range: Largest magnitude of a coordinate that is carried unchanged.

    Raises:
        EncryptionError: no scale makes a wrong decode as rare as 2^-40 a coordinate within the modulus.
    """
    fields, widest = PRESETS[settings.preset]
    return plan_widest(parameters, summands, value_range, fields, widest)


def round_plan(parameters: int, hospitals: int, settings: Settings) -> PackingPlan:
    """The plan of a round with so many hospitals on its roster.

    The plan follows from settings and roster alone, so that server and hospitals agree on it without asking.

    Raises:
        EncryptionError: as `plan_packing`.
    """
    largest = value_range(settings.encryption, settings.privacy)
    return plan_packing(parameters, hospitals, settings.encryption, largest)


def quantize(delta: Vector, weight: int, total_weight: int, plan: PackingPlan, rng: np.random.Generator) -> Quantized:
    """Cut an update to the public range, weight it, and round each value up or down at random, keeping expectations.

    Args and Raises: as for `quantize_chunks`, whose pieces are joined here.

    Guarantees:
        1. The expectation of `values * plan.resolution * total_weight / weight` is the saturated update.
        2. Each value's magnitude is below `plan.levels * weight / total_weight + 1`, hence guarantee 1 of the plan.
    """
    values = np.concatenate(list(quantize_chunks(delta, weight, total_weight, plan, rng)))
    return Quantized(values, count_saturated(delta, plan))


def quantize_chunks(
    delta: Vector, weight: int, total_weight: int, plan: PackingPlan, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Quantize one ciphertext's parameters at a time, so that no second copy of a large update is made.

    Args:
        delta: float32, shape (plan.parameters,); the update.
        weight: The hospital's weight, in [1, total_weight].
        total_weight: Sum of all enrolled weights, below 2^53.
        plan: How the update is laid out in ciphertexts.
        rng: Source of the rounding; seeded like training, since rounding only post-processes the noised update.

    Raises:
        EncryptionError: at the call, not later: the update is of another length or not finite, or the weight is out
            of range.
    """
    if delta.shape != (plan.parameters,):
        raise EncryptionError(
            f"The update has shape {delta.shape} where ({plan.parameters},) was planned.",
            "Plan the packing for this model.",
        )
    if not np.isfinite(delta).all():
        raise EncryptionError(
            f"{np.count_nonzero(~np.isfinite(delta))} of {delta.size} coordinates of the update are not finite.",
            "Lower training.learning-rate; training diverged.",
        )
    if not 1 <= weight <= total_weight < 2**53:
        raise EncryptionError(
            f"The weight {weight} is not between 1 and the total weight {total_weight}.",
            "Use the weights that are enrolled on the ledger.",
        )
    factor = plan.levels / plan.value_range * (weight / total_weight)
    step = plan.parameters_per_chunk
    return (_rounded(delta[start : start + step], factor, plan, rng) for start in plan.starts())


def count_saturated(delta: Vector, plan: PackingPlan) -> int:
    """Number of coordinates that are cut to the public range."""
    return int(np.count_nonzero(delta > plan.value_range) + np.count_nonzero(delta < -plan.value_range))


def _rounded(delta: Vector, factor: float, plan: PackingPlan, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cut, scale and round: up with the probability of the fraction."""
    scaled = delta.astype(np.float64)
    np.clip(scaled, -plan.value_range, plan.value_range, out=scaled)
    scaled *= factor
    scaled += rng.random(scaled.size)
    return np.floor(scaled, out=scaled).astype(np.int64)


def dequantize(
    sums: NDArray[np.int64], plan: PackingPlan, included_weight: int, total_weight: int
) -> NDArray[np.float64]:
    """The weighted mean update over the included hospitals, whose weights are scaled up so that they add up to 1.

    Args:
        sums: int64, shape (parameters,); sums of quantized updates.
        plan: The plan that the updates were quantized for.
        included_weight: Sum of the included hospitals' weights, in [1, total_weight].
        total_weight: Sum of all enrolled weights, as in `quantize`.

    Returns:
        float64, shape (parameters,).

    Raises:
        EncryptionError: a weight is out of range.
    """
    if not 1 <= included_weight <= total_weight:
        raise EncryptionError(
            f"The included weight {included_weight} is not between 1 and the total weight {total_weight}.",
            "Use the weights that the ledger recorded for this round.",
        )
    # One pass and one array: an update may be large.
    return np.multiply(sums, plan.resolution * (total_weight / included_weight), dtype=np.float64)


def pack(fields: NDArray[np.int64], plan: PackingPlan) -> NDArray[np.int64]:
    """Lay one chunk's fields into the coefficients of a ciphertext's message.

    Args:
        fields: int64, at most `plan.parameters_per_chunk` of them; missing ones become zero.
        plan: Fields a coordinate, their bits, and the scale.

    Returns:
        int64, shape (RING_DEGREE,): coordinates times the scale, of magnitudes below half of the prime.

    Raises:
        EncryptionError: there are too many fields, or one is out of its bounds.

    Guarantees:
        1. Where a sum of fields is within bounds, its coefficients are the sum of the summands' coefficients.
    """
    if fields.size > plan.parameters_per_chunk or _largest(fields) > plan.largest_field_sum:
        raise EncryptionError(
            f"A chunk of {fields.size} fields does not fit the layout's {plan.parameters_per_chunk} of "
            f"+-{plan.largest_field_sum}.",
            "Quantize the update for the same layout.",
        )
    rows = fields.reshape(-1)
    if fields.size < plan.parameters_per_chunk:
        rows = np.zeros(plan.parameters_per_chunk, dtype=np.int64)
        rows[: fields.size] = fields
    places = rows.reshape(plan.fields_per_coordinate, RING_DEGREE)
    coordinates = places[-1]
    for index in range(plan.fields_per_coordinate - 2, -1, -1):  # Horner's rule, from the highest field down
        coordinates = (coordinates << plan.field_bits) + places[index]
    coefficients: NDArray[np.int64] = coordinates << plan.scale_bits
    return coefficients


def unpack(coefficients: NDArray[np.int64], fields: int, plan: PackingPlan, summands: int) -> NDArray[np.int64]:
    """Round one chunk's decrypted coefficients to the exact field sums; refuse coefficients that hold no such sums.

    Args:
        coefficients: int64, shape (RING_DEGREE,); as `pack` makes them, plus noise.
        fields: Number of fields in this chunk; those after them are padding.
        plan: As for `pack`.
        summands: Number of updates in the sum.

    Returns:
        int64, shape (fields,).

    Raises:
        EncryptionError: the distances from whole numbers are not those of noise, a field is out of its bounds, or
            the padding is not zero.
    """
    if (
        coefficients.shape != (RING_DEGREE,)
        or coefficients.dtype != np.int64
        or _largest(coefficients) > MODULUS // 2
        or not 0 <= fields <= plan.parameters_per_chunk
    ):
        raise EncryptionError(
            f"{coefficients.shape} decrypted coefficients for {fields} fields are no chunk of this layout.", _SUM_REMEDY
        )
    # The nearest multiple of the scale, in whole numbers; both terms are below 2^60.
    rest = (coefficients + (1 << plan.scale_bits >> 1)) >> plan.scale_bits
    residuals = (coefficients - (rest << plan.scale_bits)).astype(np.float64)
    residuals *= 2.0**-plan.scale_bits
    _check_residuals(residuals, plan, summands)
    if _largest(rest) > largest_coordinate(plan.field_bits, plan.fields_per_coordinate):
        raise EncryptionError("A decrypted coordinate is out of its bounds.", _SUM_REMEDY)
    rows = np.empty((plan.fields_per_coordinate, RING_DEGREE), dtype=np.int64)
    half = 1 << (plan.field_bits - 1)
    for index in range(plan.fields_per_coordinate):
        # Arithmetic shift and mask take the lowest field as a number in [-half, half); the rest is a whole multiple.
        rest += half
        np.bitwise_and(rest, 2 * half - 1, out=rows[index])
        rest >>= plan.field_bits
    rows -= half
    sums = rows.reshape(-1)
    if rest.any() or _largest(sums) > plan.largest_field_sum:
        raise EncryptionError("A decrypted field is out of its bounds.", _SUM_REMEDY)
    if sums[fields:].any():
        raise EncryptionError(
            "The padding after the last parameter decrypted to something other than zero.", _SUM_REMEDY
        )
    return sums[:fields]


def _largest(values: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """The largest magnitude; 0 of no values."""
    return max(values.max().item(), -values.min().item()) if values.size else 0


def _check_residuals(residuals: NDArray[np.float64], plan: PackingPlan, summands: int) -> None:
    """Refuse distances from whole numbers that are larger than the noise of this many updates makes them."""
    if not 1 <= summands <= plan.summands:
        raise EncryptionError(
            f"A sum of {summands} updates is outside of the layout's 1 to {plan.summands}.",
            "Plan the packing for the whole roster.",
        )
    deviation = float(np.linalg.norm(residuals)) / residuals.size**0.5
    # A wrong key gives uniform residuals, of deviation 0.29, and coordinates beyond their bounds: the mean over 4,096
    # of them shows the one, at all scales of the presets, and the caller finds the other at any scale.
    if not (
        _largest(residuals) <= plan.residual_bound(summands) and deviation <= 2 * plan.residual_deviation(summands)
    ):
        raise EncryptionError(
            f"A decrypted chunk is {deviation:.2g} off whole numbers, more than the noise of {summands} updates.",
            _SUM_REMEDY,
        )
