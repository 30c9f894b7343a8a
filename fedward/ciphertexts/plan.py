"""Ciphertext plans: how many whole numbers share a ciphertext, at which resolution, and how surely sums decode.

A plan is a `PackingPlan`; one that does not fit cannot be made. `plan_layout` makes the plan for a number of fields a
coordinate, `plan_for_resolution` for a wanted resolution, and `statement` says what a plan costs and holds.

All plans have the same ring degree and modulus. Bytes a parameter depend on neither: a ciphertext has eight bytes for
each coordinate, so they are 8 divided by the fields a coordinate. SEAL has no larger prime.
"""

import functools
import math
from dataclasses import dataclass, replace
from fractions import Fraction

from fedward.ciphertexts.serialized import CHUNK_BYTES, MODULUS_BITS, RING_DEGREE
from fedward.errors import EncryptionError

WRONG_DECODE_BOUND = 2.0**-40  # largest accepted probability that a coordinate decodes wrongly

# Largest modulus (bits) for each ring degree and security level, for ternary secrets: the community standard's
# table (Albrecht et al. 2018, "Homomorphic Encryption Standard"). SEAL holds its own parameters to the same one.
LARGEST_MODULUS_BITS = {
    128: {4096: 109, 8192: 218, 16384: 438},
    192: {4096: 75, 8192: 152, 16384: 305},
    256: {4096: 58, 8192: 118, 16384: 237},
}

# Coefficients of a sum must stay below half of the prime, which is 2^59; a sixteenth of that is left to the noise.
_LARGEST_ENCODED = 15 * 2 ** (MODULUS_BITS - 5)
# Of the discrete Gaussian error in each coefficient of a ciphertext: twice the 3.2 of the community standard, since
# opening a sum tells the sum of its errors (docs/adr/0029).
ERROR_DEVIATION = Fraction(32, 5)
# No smaller probability of a wrong decode is claimed: other ways to fail are likelier.
_SMALLEST_CLAIM = 2.0**-128
_FALSE_ALARM_DEVIATIONS = 9.5  # passed with a probability below 2^-64
# For one ciphertext whoever releases last makes a key under which it opens to what he likes; none fits two (ADR 43).
FEWEST_CHUNKS = 2
MOST_FIELDS = 4  # a coordinate; more would leave too few bits for any roster
_PLAN_REMEDY = "Choose another encryption.preset, or fewer hospitals."

Figures = dict[str, int | float]


@dataclass(frozen=True)
class PackingPlan:
    """How fields are laid out in ciphertexts, with the bounds that make decoding exact. None is made that does not fit.

    Noise. A ciphertext opens to its message plus one error polynomial. A coefficient of the message is a coordinate
    times 2^scale_bits; one of the error is a discrete Gaussian of the parameter `ERROR_DEVIATION`, independent of all
    others, drawn anew for each ciphertext. Nothing else is added, whatever the key, and nothing is rounded: all are
    whole numbers. A discrete Gaussian x of the parameter s is sub-Gaussian with variance proxy s^2. For E exp(t * x) is
    exp(t^2 * s^2 / 2) times the sum of exp(-(k - t * s^2)^2 / (2 * s^2)) over all whole k, over the same sum without
    the shift; and by Poisson's formula, whose terms are positive here, no shift makes such a sum larger (Canonne,
    Kamath and Steinke 2020, "The Discrete Gaussian for Differential Privacy"). So the noise of a coefficient of K
    summed ciphertexts is sub-Gaussian with the deviation `ERROR_DEVIATION` * sqrt(K), and reaches z deviations in
    either direction with a probability of at most 2 * exp(-z^2 / 2): for every key, message, coefficient, K and z.
    `benchmarks/noise.py` measures it.

    Decoding. A ciphertext tells its coefficients modulo the prime. Where the sums of fields keep their bounds, a
    coordinate of the sum is at most L = largest_coordinate in magnitude, and the message's coefficient at most
    L * 2^scale_bits; no plan is made where that passes 15 / 16 of 2^59. As a multiple of 2^scale_bits below 2^59 it
    leaves at least 2^scale_bits up to 2^59, and 2^55, too. Half of the prime is 2^59 less 8192. So noise below half of
    2^scale_bits leaves message plus noise between minus and plus half of the prime, where it is read as it is (from
    scale_bits of 14 on by the first, below by the second), and the nearest multiple of 2^scale_bits is the message's
    coefficient: the coordinate is exact.

    Attributes:
        parameters: Length of the update; at least 1.
        summands: Largest number of ciphertexts in a sum (hospitals on the roster).
        value_range: Largest magnitude of a coordinate of an update that is carried unchanged; public.
        field_bits: Width of a field, which holds the sum.
        scale_bits: A coordinate is multiplied by 2^scale_bits before encoding.
        fields_per_coordinate: Fields that share a coordinate, which is one coefficient.

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

    def __post_init__(self) -> None:
        if self.parameters < 1 or self.summands < 1 or not 0 < self.value_range < math.inf:
            raise EncryptionError(
                f"No layout holds {self.parameters} parameters of {self.summands} hospitals in +-{self.value_range}.",
                "Give at least one parameter, one hospital and a positive, finite encryption.value-range.",
            )
        if not 2 <= self.field_bits <= 50 or not 1 <= self.fields_per_coordinate <= MOST_FIELDS:
            raise EncryptionError(
                f"{self.fields_per_coordinate} fields of {self.field_bits} bits are no layout.", _PLAN_REMEDY
            )
        if 2 * self.summands > self.largest_field_sum:
            raise EncryptionError(
                f"A field of {self.field_bits} bits loses over half its range to the rounding of {self.summands} "
                "hospitals.",
                _PLAN_REMEDY,
            )
        if self.scale_bits < 0 or self._largest_encoded > _LARGEST_ENCODED:
            raise EncryptionError(
                f"{self.fields_per_coordinate} fields of {self.field_bits} bits at scale 2^{self.scale_bits} do not "
                f"fit a prime of {MODULUS_BITS} bits.",
                _PLAN_REMEDY,
            )
        if self.wrong_decode_probability > WRONG_DECODE_BOUND:
            raise EncryptionError(
                f"The noise of {self.summands} summed updates would garble fields of {self.field_bits} bits.",
                _PLAN_REMEDY,
            )

    @property
    def parameters_per_chunk(self) -> int:
        """Parameters in one ciphertext."""
        return RING_DEGREE * self.fields_per_coordinate

    @property
    def chunks(self) -> int:
        """Ciphertexts for one update: two at least, of which the second may hold padding only."""
        return max(FEWEST_CHUNKS, -(-self.parameters // self.parameters_per_chunk))

    def fields_in(self, place: int) -> int:
        """How many of the parameters are in the ciphertext in this place, from 0; the rest of it is padding."""
        before = place * self.parameters_per_chunk
        return min(self.parameters_per_chunk, max(0, self.parameters - before))

    def starts(self) -> range:
        """For each ciphertext, where its parameters begin; of padding alone, beyond the last one."""
        return range(0, self.chunks * self.parameters_per_chunk, self.parameters_per_chunk)

    @property
    def bytes_per_parameter(self) -> float:
        """Length of all chunks over the number of parameters."""
        return self.chunks * CHUNK_BYTES / self.parameters

    @property
    def largest_field_sum(self) -> int:
        """Largest magnitude of a field, in one update or in a sum."""
        return int(2 ** (self.field_bits - 1) - 1)

    @property
    def levels(self) -> int:
        """Whole-number magnitude that stands for `value_range`; the rest of the field is room for rounding."""
        return self.largest_field_sum - self.summands

    @property
    def resolution(self) -> float:
        """Step of the sum, in units of the update's coordinates."""
        return self.value_range / self.levels

    @property
    def noise_margin(self) -> float:
        """Standard deviations of the noise of a full sum that fit before a coordinate decodes wrongly."""
        return 2.0**self.scale_bits / 2 / self._noise_deviation(self.summands)

    @property
    def wrong_decode_probability(self) -> float:
        """Bound on the probability that a coordinate of a full sum decodes wrongly; 2^-128 where it is smaller."""
        return max(noise_tail_bound(self.noise_margin), _SMALLEST_CLAIM)

    def wrong_decode_in(self, rounds: int) -> float:
        """Bound on the probability that any coordinate of any of so many rounds' sums decodes wrongly; at most 1.

        By the union bound over all coordinates of updates, padding included. Hospitals add nothing to it: all of them
        decode the same sum, with the same noise.
        """
        return min(1.0, rounds * self.chunks * RING_DEGREE * self.wrong_decode_probability)

    def residual_bound(self, summands: int) -> float:
        """Distance from a whole number that a sum's coordinate passes with probability 2^-64; at most 0.5."""
        distance = _FALSE_ALARM_DEVIATIONS * self._noise_deviation(summands)
        return min(0.5, distance / 2.0**self.scale_bits)

    def residual_deviation(self, summands: int) -> float:
        """Expected root mean square of a sum's distances from whole numbers."""
        return self._noise_deviation(summands) / 2.0**self.scale_bits

    @property
    def _largest_encoded(self) -> int:
        """Bound on the magnitude of a message's coefficient, of one update or of a sum."""
        return largest_coordinate(self.field_bits, self.fields_per_coordinate) << self.scale_bits

    def _noise_deviation(self, summands: int) -> float:
        """Standard deviation of a coefficient's noise."""
        return float(ERROR_DEVIATION) * math.sqrt(summands)


def noise_tail_bound(deviations: float) -> float:
    """Bound on the probability that noise reaches so many of its deviations, in either direction; at most 1.

    The docstring of `PackingPlan` derives it.
    """
    return min(1.0, 2 * math.exp(-(deviations**2) / 2)) if deviations > 0 else 1.0


@functools.cache
def largest_coordinate(field_bits: int, fields_per_coordinate: int) -> int:
    """Magnitude of a coordinate whose fields are all at their bound."""
    return sum((2 ** (field_bits - 1) - 1) << (field_bits * index) for index in range(fields_per_coordinate))


def largest_scale(field_bits: int, fields_per_coordinate: int) -> int:
    """Bits of the largest scale that the modulus holds; negative where not even the fields fit."""
    times: int = _LARGEST_ENCODED // largest_coordinate(field_bits, fields_per_coordinate)
    return times.bit_length() - 1


def plan_layout(
    parameters: int, summands: int, value_range: float, fields_per_coordinate: int, field_bits: int
) -> PackingPlan:
    """The plan for these fields, with the largest scale that the modulus holds.

    Scale costs no bytes, and each bit of it doubles the noise margin, which squares the probability of a wrong decode.

    Raises:
        EncryptionError: as `PackingPlan`.
    """
    if not 2 <= field_bits < MODULUS_BITS or not 1 <= fields_per_coordinate <= MOST_FIELDS:
        raise EncryptionError(f"{fields_per_coordinate} fields of {field_bits} bits are no layout.", _PLAN_REMEDY)
    scale_bits = largest_scale(field_bits, fields_per_coordinate)
    return PackingPlan(parameters, summands, value_range, field_bits, scale_bits, fields_per_coordinate)


def plan_widest(
    parameters: int, summands: int, value_range: float, fields_per_coordinate: int, widest: int
) -> PackingPlan:
    """The plan with the widest fields that fit so many hospitals, up to a limit.

    Raises:
        EncryptionError: with so many fields a coordinate, no width fits so many hospitals.
    """
    # Half of a field is for rounding: narrower ones cannot hold this many hospitals.
    narrowest = max(2, (2 * summands).bit_length() + 1)
    for field_bits in range(widest, narrowest, -1):
        try:
            return plan_layout(parameters, summands, value_range, fields_per_coordinate, field_bits)
        except EncryptionError:
            continue
    try:
        return plan_layout(parameters, summands, value_range, fields_per_coordinate, min(narrowest, widest))
    except EncryptionError as error:
        raise EncryptionError(
            error.what, "Choose another encryption.preset, with fewer fields a coordinate."
        ) from error


def plan_for_resolution(
    parameters: int, summands: int, value_range: float, resolution: float, security_bits: int = 128
) -> PackingPlan:
    """The plan of the fewest bytes that has at least the wanted resolution.

    Args:
        parameters: Length of the update.
        summands: Largest number of hospitals in a sum.
        value_range: Largest magnitude of a coordinate that is carried unchanged.
        resolution: Largest accepted step of the sum, in the coordinates' units.
        security_bits: 128 or 192.

    Raises:
        EncryptionError: no plan is so fine or so secure, or holds so many hospitals.

    Guarantees:
        1. The plan's `resolution` is at most the wanted one; no plan of fewer bytes a parameter would do.
        2. Of the field widths that do, the plan has the narrowest: bits that are left over go to the scale.
    """
    check_security(security_bits)
    if not resolution > 0:
        raise EncryptionError(f"A resolution of {resolution} is not positive.", "Give the step that you need.")
    levels = math.ceil(min(value_range / resolution, 2.0**64))
    field_bits = (levels + summands).bit_length() + 1
    for fields_per_coordinate in range(MOST_FIELDS, 0, -1):
        for bits in (field_bits, field_bits + 1):  # the second where rounding needs half of the field
            try:
                plan = plan_layout(parameters, summands, value_range, fields_per_coordinate, bits)
            except EncryptionError:
                continue
            if plan.resolution <= resolution:
                return plan
    raise EncryptionError(
        f"No layout adds {summands} updates of {parameters} parameters in +-{value_range} in steps of {resolution:g}.",
        "Accept a coarser resolution, a smaller range or fewer hospitals.",
    )


def check_security(security_bits: int) -> None:
    """Refuse a security level that our ring degree and modulus do not reach.

    Raises:
        EncryptionError: the level is unknown to the standard, or needs another ring degree.
    """
    allowed = LARGEST_MODULUS_BITS.get(security_bits)
    modulus_bits = MODULUS_BITS
    if allowed is None or modulus_bits > allowed[RING_DEGREE]:
        reached = [level for level, sizes in LARGEST_MODULUS_BITS.items() if modulus_bits <= sizes[RING_DEGREE]]
        raise EncryptionError(
            f"Ring degree {RING_DEGREE} with {modulus_bits} bits of modulus does not reach {security_bits} bits of "
            "security.",
            f"Choose one of {', '.join(map(str, reached))}.",
        )


def most_hospitals(plan: PackingPlan) -> int:
    """The largest number of hospitals that fields of this width hold; at most 2^20.

    More hospitals make more noise and need more room for rounding, and nothing else changes; so halving finds it.
    """
    fits, fails = plan.summands, 2**20 + 1
    while fails - fits > 1:
        middle = (fits + fails) // 2
        try:
            replace(plan, summands=middle)
        except EncryptionError:
            fails = middle
        else:
            fits = middle
    return fits


def statement(plan: PackingPlan, rounds: int) -> Figures:
    """What a plan costs and holds, in plain numbers.

    Args:
        plan: Any.
        rounds: Of a run.

    Returns:
        Figures by name; `resolution_bits` counts the steps from -range to +range, `largest_sum` is in those steps,
        `noise_margin` in deviations of a full sum's noise, `wrong_decode_log2` is of the probability that one
        coordinate decodes wrongly, and `wrong_decode_in_run_log2` of the probability that any does in so many rounds.
    """
    modulus_bits = MODULUS_BITS
    return {
        "parameters": plan.parameters,
        "hospitals": plan.summands,
        "most_hospitals": most_hospitals(plan),
        "rounds": rounds,
        "ring_degree": RING_DEGREE,
        "modulus_bits": modulus_bits,
        "security_bits": max(
            level for level, sizes in LARGEST_MODULUS_BITS.items() if modulus_bits <= sizes[RING_DEGREE]
        ),
        "fields_per_coordinate": plan.fields_per_coordinate,
        "field_bits": plan.field_bits,
        "scale_bits": plan.scale_bits,
        "ciphertexts": plan.chunks,
        "update_bytes": plan.chunks * CHUNK_BYTES,
        "bytes_per_parameter": plan.bytes_per_parameter,
        "resolution": plan.resolution,
        "resolution_bits": math.log2(2 * plan.levels + 1),
        "largest_sum": plan.largest_field_sum,
        "noise_margin": plan.noise_margin,
        "wrong_decode_log2": math.log2(plan.wrong_decode_probability),
        "wrong_decode_in_run_log2": math.log2(plan.wrong_decode_in(rounds)),
    }
