"""Encode validation counts as whole numbers that add up under encryption, and decode their sums exactly.

With `metrics.encrypted`, a hospital's `ScoreHistogram` leaves the hospital as ciphertexts. Each count is a field of its
own, and so is n; the sum of losses is a whole number of 2^-40 nats, cut into digits that fit fields. Adding such fields
adds the histograms, bit for bit, and the losses to within 2^-41 nats a hospital (docs/adr/0015).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.plan import MOST_FIELDS, PackingPlan, plan_layout
from fedward.ciphertexts.serialized import add_ciphertexts
from fedward.errors import EncryptionError
from fedward.figures.histograms import BINS, LARGEST_LOSS, ScoreHistogram
from fedward.files import merkle_root, sha256
from fedward.types import Address

LOSS_FRACTION_BITS = 40


@dataclass(frozen=True)
class EncryptedCounts:
    """The encrypted sum of the validation counts of a round.

    Attributes:
        hospitals: Whose counts are inside, each once.
        chunks: The sum's ciphertexts in order.
    """

    hospitals: tuple[Address, ...]
    chunks: tuple[bytes, ...]

    def root(self) -> bytes:
        """32 bytes; Merkle root of the ciphertexts' hashes."""
        return merkle_root([sha256(chunk) for chunk in self.chunks])


class RunningSum:
    """Adds hospitals' encrypted counts one at a time: memory holds one sum and one ballot, however many there are."""

    def __init__(self) -> None:
        self._hospitals: list[Address] = []
        self._chunks: list[bytes] = []

    def add(self, hospital: Address, chunks: tuple[bytes, ...]) -> None:
        """Add a hospital's ciphertexts; the caller has checked them, and that all hospitals have equally many."""
        if self._chunks:
            self._chunks = [add_ciphertexts(*pair) for pair in zip(self._chunks, chunks, strict=True)]
        else:
            self._chunks = list(chunks)
        self._hospitals.append(hospital)

    def total(self) -> EncryptedCounts:
        """The sum so far."""
        return EncryptedCounts(tuple(self._hospitals), tuple(self._chunks))


@dataclass(frozen=True)
class CountsLayout:
    """Which field of a round's encrypted counts holds which count; built by `counts_layout`.

    Fields, in order: positives by finding and bin, negatives by finding and bin, n, and the digits of the loss sum,
    lowest first.

    Attributes:
        findings: Number of findings.
        digits: Fields that the loss sum takes.
        digit_bits: Bits of a digit.
        plan: The plan of the ciphertexts; its `parameters` is the number of fields.

    Guarantees:
        1. Fields of at most `plan.summands` histograms, of no more images together than the roster's weights, add up
           within the plan's bounds.
        2. `from_fields` of that sum is the sum of the histograms; of loss sums to within 2^-41 nats a histogram.
    """

    findings: int
    digits: int
    digit_bits: int
    plan: PackingPlan

    def to_fields(self, counts: ScoreHistogram) -> NDArray[np.int64]:
        """A hospital's counts, capped by its weight, as whole numbers: int64, shape (plan.parameters,), none negative.

        Raises:
            EncryptionError: the counts are of another shape, or larger than the fields hold.
        """
        loss, mask = round(counts.loss_sum * 2**LOSS_FRACTION_BITS), (1 << self.digit_bits) - 1
        digits = [loss >> (self.digit_bits * index) & mask for index in range(self.digits)]
        if counts.positives.shape != (self.findings, BINS) or loss < 0 or loss >> (self.digit_bits * self.digits):
            raise EncryptionError(
                f"Counts of {len(counts.positives)} findings and {counts.n} images do not fit the layout of a round.",
                "Compare this hospital's findings and weight with the roster's.",
            )
        last = np.array([counts.n, *digits], np.int64)
        return np.concatenate([counts.positives.reshape(-1), counts.negatives.reshape(-1), last])

    def from_fields(self, sums: NDArray[np.int64]) -> ScoreHistogram:
        """The counts in a decrypted sum: int64, shape (plan.parameters,). Check them with `check_counts`."""
        half = self.findings * BINS
        positives, negatives = (sums[start : start + half].reshape(self.findings, BINS).copy() for start in (0, half))
        loss = sum(int(digit) << (self.digit_bits * index) for index, digit in enumerate(sums[2 * half + 1 :]))
        return ScoreHistogram(positives, negatives, loss / 2**LOSS_FRACTION_BITS, int(sums[2 * half]))


def counts_layout(findings: int, hospitals: int, enrolled_total: int) -> CountsLayout:
    """Lay a round's counts out in as few ciphertexts as fit; this follows from the ledger alone, so that all agree.

    Args:
        findings: Number of findings.
        hospitals: Length of the roster.
        enrolled_total: Sum of the roster's weights. No bin holds more images: a hospital's counts are capped by its
            weight.

    Raises:
        EncryptionError: no plan holds so many images.
    """
    # A field must also hold the sum of all hospitals' digits, of a bit each at least.
    field_bits = max(enrolled_total, 2 * hospitals).bit_length() + 1
    largest = 2 ** (field_bits - 1) - 1
    digit_bits = (largest // hospitals).bit_length() - 1
    loss_bits = (int(LARGEST_LOSS) * enrolled_total << LOSS_FRACTION_BITS).bit_length()
    digits = -(-loss_bits // digit_bits)
    for fields_per_coordinate in range(MOST_FIELDS, 0, -1):
        try:
            plan = plan_layout(2 * findings * BINS + 1 + digits, hospitals, 1.0, fields_per_coordinate, field_bits)
        except EncryptionError:
            continue
        return CountsLayout(findings, digits, digit_bits, plan)
    raise EncryptionError(
        f"No layout adds validation counts of {hospitals} hospitals with {enrolled_total} images.",
        "Set metrics.encrypted to false.",
    )


def check_counts(counts: ScoreHistogram, most: int) -> None:
    """Refuse a decrypted sum of counts that is impossible for honest hospitals. Possible but false counts pass.

    Args:
        counts: The decrypted sum.
        most: Total weight of the hospitals inside: each counts at most as many images as it is enrolled with.

    Raises:
        EncryptionError: a count is negative, a finding's counts do not add up to n, n is more than that weight, or so
            many images cannot have such a loss.
    """
    both = np.concatenate([counts.positives, counts.negatives], axis=1)
    if not 0 <= counts.n <= most:
        problem = f"count {counts.n} images, where the hospitals inside are enrolled with {most}"
    # Each count is bounded first, so that no sum wraps around to n.
    elif (both < 0).any() or (both > counts.n).any() or (both.sum(axis=1) != counts.n).any():
        problem = f"do not add up to their {counts.n} images"
    elif not 0 <= counts.loss_sum <= LARGEST_LOSS * counts.n:
        problem = f"come with a loss that {counts.n} images cannot have"
    else:
        return
    raise EncryptionError(f"The summed validation counts {problem}.", "Find the hospital that sent such counts.")
