"""How an update becomes whole numbers, and how those share a ciphertext: planned, packed and unpacked exactly.

Each parameter becomes a signed whole number, a field. Two fields share a real coordinate (low + high * 2^field_bits),
two coordinates a complex slot, and 4,096 slots a ciphertext: 16,384 parameters in 131 kB. A coordinate times
2^scale_bits is what gets encrypted; the noise stays far below half of that, so decoding rounds to the exact sum.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertext import CIPHERTEXT, COEFFICIENT_MODULUS_BITS, RING_DEGREE
from fedward.errors import EncryptionError
from fedward.settings import EncryptionSettings, PrivacySettings, Settings
from fedward.types import Vector

SLOTS = RING_DEGREE // 2
WRONG_DECODE_BOUND = 2.0**-40  # largest accepted probability that a coordinate decodes wrongly
NOISE_DEVIATIONS_IN_RANGE = 6  # of the privacy noise; a coordinate passes them once in 500 million

# SEAL refuses to encode from 2^58 on, and a sum must stay below half of the 60-bit prime, noise included.
_ENCODED_BITS = COEFFICIENT_MODULUS_BITS[0] - 2
# Error of encoding and decoding in double precision over the largest slot; 2^-48.8 was the largest measured
# (random, constant, alternating and single-slot vectors of up to 2^57), so this leaves a factor of 7.
_DOUBLE_PRECISION_ERROR = 2.0**-46
_LAPLACE_RATE = math.sqrt(2.0)
# The law below is not claimed beyond this: other ways to fail are likelier.
_SMALLEST_CLAIM = 2.0**-128
_FALSE_ALARM_BITS = 64
_PLAN_REMEDY = "Set encryption.field-bits lower for more hospitals, or higher for a finer resolution."
_SUM_REMEDY = "Vote to reject this aggregate: it was not made from this round's updates under this key."


@dataclass(frozen=True)
class PackingPlan:
    """A layout, with the bounds that make its decoding exact. One that does not fit cannot be made.

    Noise. What remains of encryption's noise is the rounding when the second prime is divided away: in a slot it is
    r * s, where r comes from uniform rounding errors (variance 1/12 each) and s is the ternary secret key (variance
    2/3 each) at that slot's root of unity. Both are sums of 8,192 independent terms, so a coordinate has variance
    (ring_degree / 24) * (2 * ring_degree / 3 + 2), deviation 1,366, and the tails of a Laplace distribution over
    keys: given the key it is Gaussian, with the same slots always the worst. K summed ciphertexts have sqrt(K)
    times the deviation. Measured over 3,000 keys and 98 million coordinates: deviation 1,366, and the shares beyond
    6 to 11 deviations are 0.7 to 1.03 times the law's.

    Attributes:
        parameters: Length of the update; at least 1.
        summands: Largest number of ciphertexts in a sum (hospitals on the roster).
        value_range: Largest magnitude of a coordinate of an update that is carried unchanged; public.
        field_bits: Width of a field, which holds the sum.
        scale_bits: A coordinate is multiplied by 2^scale_bits before encoding.
        fields_per_coordinate: Fields that share a real coordinate.
        ring_degree: Of the ciphertexts.
        coefficient_modulus_bits: Sizes of the primes.

    Raises:
        EncryptionError: a number is out of range, rounding takes more than half of a field, the coordinates do not
            fit the modulus, or a wrong decode would be likelier than 2^-40.

    Guarantees:
        1. Sums of at most `summands` updates by honest hospitals, weights summing to at most the total, never leave
           their fields, whatever the updates.
        2. Such a sum decodes to exactly the sum of the integers, but for `wrong_decode_probability` a coordinate.

    Limits: a hospital that departs from the protocol can encrypt other values; the field bounds catch some of these.
    """

    parameters: int
    summands: int
    value_range: float
    field_bits: int
    scale_bits: int
    fields_per_coordinate: int = 2
    ring_degree: int = RING_DEGREE
    coefficient_modulus_bits: tuple[int, ...] = COEFFICIENT_MODULUS_BITS

    def __post_init__(self) -> None:
        if self.parameters < 1 or self.summands < 1 or not 0 < self.value_range < math.inf:
            raise EncryptionError(
                f"No layout holds {self.parameters} parameters of {self.summands} hospitals in +-{self.value_range}.",
                "Give at least one parameter, one hospital and a positive, finite encryption.value-range.",
            )
        if self.ring_degree != RING_DEGREE or self.coefficient_modulus_bits != COEFFICIENT_MODULUS_BITS:
            raise EncryptionError(
                f"Ring degree {self.ring_degree} with primes of {self.coefficient_modulus_bits} bits is not supported.",
                f"Use {RING_DEGREE} with {COEFFICIENT_MODULUS_BITS}.",
            )
        if not 2 <= self.field_bits <= 50 or not 1 <= self.fields_per_coordinate <= 4:
            raise EncryptionError(
                f"{self.fields_per_coordinate} fields of {self.field_bits} bits are no layout.", _PLAN_REMEDY
            )
        if 2 * self.summands > self.largest_field_sum:
            raise EncryptionError(
                f"A field of {self.field_bits} bits loses over half its range to the rounding of {self.summands} "
                "hospitals.",
                "Set encryption.field-bits higher.",
            )
        if self.scale_bits < 0 or self._largest_encoded > 2**_ENCODED_BITS:
            raise EncryptionError(
                f"{self.fields_per_coordinate} fields of {self.field_bits} bits at scale 2^{self.scale_bits} do not "
                f"fit a prime of {self.coefficient_modulus_bits[0]} bits.",
                "Set encryption.field-bits lower.",
            )
        if self.wrong_decode_probability > WRONG_DECODE_BOUND:
            raise EncryptionError(
                f"The noise of {self.summands} summed updates would garble fields of {self.field_bits} bits.",
                "Set encryption.field-bits lower.",
            )

    @property
    def parameters_per_chunk(self) -> int:
        """Parameters in one ciphertext."""
        return self.ring_degree * self.fields_per_coordinate

    @property
    def chunks(self) -> int:
        """Ciphertexts for one update."""
        return -(-self.parameters // self.parameters_per_chunk)

    @property
    def bytes_per_parameter(self) -> float:
        """Length of all chunks over the number of parameters."""
        return self.chunks * CIPHERTEXT.total_bytes / self.parameters

    @property
    def largest_field_sum(self) -> int:
        """Largest magnitude of a field, in one update or in a sum."""
        return int(2 ** (self.field_bits - 1) - 1)

    @property
    def levels(self) -> int:
        """Whole-number magnitude that stands for `value_range`; what is left of the field is rounding's."""
        return self.largest_field_sum - self.summands

    @property
    def resolution(self) -> float:
        """Step of the sum, in units of the update's coordinates."""
        return self.value_range / self.levels

    @property
    def noise_margin(self) -> float:
        """Standard deviations of the noise of a full sum that fit before a coordinate decodes wrongly."""
        return (2.0**self.scale_bits / 2 - self._encoder_error) / self._noise_deviation(self.summands)

    @property
    def wrong_decode_probability(self) -> float:
        """Probability over keys that a coordinate of a full sum decodes wrongly; 2^-128 where it is smaller still."""
        return min(1.0, max(math.exp(-_LAPLACE_RATE * self.noise_margin), _SMALLEST_CLAIM))

    def residual_bound(self, summands: int) -> float:
        """Distance from a whole number that a sum's coordinate passes with probability 2^-64; at most 0.5."""
        distance = _FALSE_ALARM_BITS * math.log(2.0) / _LAPLACE_RATE * self._noise_deviation(summands)
        return min(0.5, (distance + self._encoder_error) / 2.0**self.scale_bits)

    def residual_deviation(self, summands: int) -> float:
        """Expected root mean square of a sum's distances from whole numbers, rounding of doubles at its worst."""
        return (self._noise_deviation(summands) + self._encoder_error) / 2.0**self.scale_bits

    @property
    def _largest_encoded(self) -> float:
        """Bound on a slot's magnitude as it is encoded; no coefficient of the polynomial is larger."""
        return largest_coordinate(self.field_bits, self.fields_per_coordinate) * math.sqrt(2.0) * 2.0**self.scale_bits

    @property
    def _encoder_error(self) -> float:
        """Bound on double precision's share of a coordinate's error, in encoded units."""
        return _DOUBLE_PRECISION_ERROR * self._largest_encoded

    def _noise_deviation(self, summands: int) -> float:
        """Standard deviation of a coordinate's noise over keys and slots, in encoded units."""
        return math.sqrt(summands * self.ring_degree / 24 * (2 * self.ring_degree / 3 + 2))


@dataclass(frozen=True)
class Quantized:
    """A weighted update in whole numbers.

    Attributes:
        values: int64, shape (parameters,).
        saturated: Number of coordinates that were cut to the public range.
    """

    values: NDArray[np.int64]
    saturated: int


def largest_coordinate(field_bits: int, fields_per_coordinate: int) -> int:
    """Magnitude of a real coordinate whose fields are all at their bound."""
    return sum((2 ** (field_bits - 1) - 1) << (field_bits * index) for index in range(fields_per_coordinate))


def value_range(encryption: EncryptionSettings, privacy: PrivacySettings) -> float:
    """The public range of an update's coordinates: from the settings, never from the data.

    Without privacy noise it is `encryption.value-range`. With it, no coordinate of the clipped update passes the
    clip norm, and the noise passes 6 of its standard deviations about once in 500 million coordinates.
    """
    if privacy.mode == "none":
        return encryption.value_range
    return privacy.clip_norm * (1 + NOISE_DEVIATIONS_IN_RANGE * privacy.noise_multiplier)


def plan_packing(parameters: int, summands: int, settings: EncryptionSettings, value_range: float) -> PackingPlan:
    """Choose the largest scale that the modulus holds: scale costs no bytes, and every bit of it squares the odds.

    Args:
        parameters: Length of the update.
        summands: Largest number of hospitals in a sum.
        settings: Gives the field's width.
        value_range: Largest magnitude of a coordinate that is carried unchanged.

    Raises:
        EncryptionError: no scale makes a wrong decode as rare as 2^-40 a coordinate within the modulus.
    """
    double_square = 2 * largest_coordinate(settings.field_bits, 2) ** 2
    scale_bits = _ENCODED_BITS - (double_square.bit_length() + 1) // 2
    return PackingPlan(parameters, summands, value_range, settings.field_bits, scale_bits)


def round_plan(parameters: int, hospitals: int, settings: Settings) -> PackingPlan:
    """The layout of a round with so many hospitals on its roster.

    It follows from settings and roster alone, so that server and hospitals agree on it without asking.

    Raises:
        EncryptionError: as `plan_packing`.
    """
    largest = value_range(settings.encryption, settings.privacy)
    return plan_packing(parameters, hospitals, settings.encryption, largest)


def quantize(delta: Vector, weight: int, total_weight: int, plan: PackingPlan, rng: np.random.Generator) -> Quantized:
    """Cut to the public range, weight, and round up or down at random so that the mean is kept.

    Args:
        delta: float32, shape (plan.parameters,); the update.
        weight: The hospital's weight, in [1, total_weight].
        total_weight: Sum of all enrolled weights, below 2^53.
        plan: The layout.
        rng: Source of the rounding; seeded like training, since rounding only post-processes the noised update.

    Raises:
        EncryptionError: the update is of another length or not finite, or the weight is out of range.

    Guarantees:
        1. The expectation of `values * plan.resolution * total_weight / weight` is the saturated update.
        2. Each value's magnitude is below `plan.levels * weight / total_weight + 1`, hence guarantee 1 of the plan.
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
    saturated = int(np.count_nonzero(np.abs(delta) > plan.value_range))
    scaled = np.clip(delta.astype(np.float64), -plan.value_range, plan.value_range)
    scaled *= plan.levels / plan.value_range * (weight / total_weight)
    scaled += rng.random(scaled.size)
    return Quantized(np.floor(scaled, out=scaled).astype(np.int64), saturated)


def dequantize(
    sums: NDArray[np.int64], plan: PackingPlan, included_weight: int, total_weight: int
) -> NDArray[np.float64]:
    """The weighted mean update over the included hospitals: what was not included is divided out.

    Args:
        sums: int64, shape (parameters,); sums of quantized updates.
        plan: The layout they were quantized for.
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
    return sums.astype(np.float64) * (plan.resolution * (total_weight / included_weight))


def pack(fields: NDArray[np.int64], plan: PackingPlan) -> NDArray[np.complex128]:
    """Lay one chunk's fields into the slots of a ciphertext.

    Args:
        fields: int64, at most `plan.parameters_per_chunk` of them; missing ones become zero.
        plan: The layout.

    Returns:
        complex128, shape (slots,), multiplied by the scale: whole numbers, exact in double precision.

    Raises:
        EncryptionError: there are too many fields, or one is out of its bounds.
    """
    if fields.size > plan.parameters_per_chunk or (np.abs(fields) > plan.largest_field_sum).any():
        raise EncryptionError(
            f"A chunk of {fields.size} fields does not fit the layout's {plan.parameters_per_chunk} of "
            f"+-{plan.largest_field_sum}.",
            "Quantize the update for the same layout.",
        )
    rows = np.zeros((2, plan.fields_per_coordinate, SLOTS), dtype=np.int64)
    rows.reshape(-1)[: fields.size] = fields
    place_values = 2 ** (plan.field_bits * np.arange(plan.fields_per_coordinate, dtype=np.int64))
    real, imaginary = np.einsum("cfs,f->cs", rows, place_values) * 2.0**plan.scale_bits
    return np.asarray(real + 1j * imaginary, dtype=np.complex128)


def unpack(slots: NDArray[np.complex128], fields: int, plan: PackingPlan, summands: int) -> NDArray[np.int64]:
    """Read one chunk's exact field sums out of decrypted slots, or find that they are none.

    Args:
        slots: complex128, shape (slots,); as `pack` makes them, plus noise.
        fields: Number of fields in this chunk; those after them are padding.
        plan: The layout.
        summands: Number of updates in the sum.

    Returns:
        int64, shape (fields,).

    Raises:
        EncryptionError: the distances from whole numbers are not those of noise, a field is out of its bounds, or
            the padding is not zero.
    """
    if slots.shape != (SLOTS,) or not np.isfinite(slots).all() or not 0 <= fields <= plan.parameters_per_chunk:
        raise EncryptionError(
            f"{slots.shape} decrypted slots for {fields} fields are no chunk of this layout.", _SUM_REMEDY
        )
    coordinates = np.stack([slots.real, slots.imag]) / 2.0**plan.scale_bits
    whole = np.rint(coordinates)
    _check_residuals(coordinates - whole, plan, summands)
    if np.abs(whole).max() > largest_coordinate(plan.field_bits, plan.fields_per_coordinate):
        raise EncryptionError("A decrypted coordinate is out of its bounds.", _SUM_REMEDY)
    rest = whole.astype(np.int64)
    rows = np.empty((2, plan.fields_per_coordinate, SLOTS), dtype=np.int64)
    half = 1 << (plan.field_bits - 1)
    for index in range(plan.fields_per_coordinate):
        # Arithmetic shift and mask take the lowest field as a number in [-half, half); the rest is a whole multiple.
        rows[:, index] = ((rest + half) & (2 * half - 1)) - half
        rest = (rest - rows[:, index]) >> plan.field_bits
    sums = rows.reshape(-1)
    if rest.any() or (np.abs(sums) > plan.largest_field_sum).any():
        raise EncryptionError("A decrypted field is out of its bounds.", _SUM_REMEDY)
    if sums[fields:].any():
        raise EncryptionError(
            "The padding after the last parameter decrypted to something other than zero.", _SUM_REMEDY
        )
    return sums[:fields]


def _check_residuals(residuals: NDArray[np.float64], plan: PackingPlan, summands: int) -> None:
    """Refuse distances from whole numbers that are larger than the noise of this many updates makes them."""
    if not 1 <= summands <= plan.summands:
        raise EncryptionError(
            f"A sum of {summands} updates is outside of the layout's 1 to {plan.summands}.",
            "Plan the packing for the whole roster.",
        )
    deviation = float(np.sqrt(np.mean(residuals**2)))
    # A wrong key gives uniform residuals, of deviation 0.29: the mean over 8,192 of them shows that at any scale.
    if not (
        np.abs(residuals).max() <= plan.residual_bound(summands) and deviation <= 2 * plan.residual_deviation(summands)
    ):
        raise EncryptionError(
            f"A decrypted chunk is {deviation:.2g} off whole numbers, more than the noise of {summands} updates.",
            _SUM_REMEDY,
        )
