"""Find wrong shares: right ones are values of one polynomial of low degree, that is, a Reed-Solomon code word.

With m shares of a threshold t, up to (m - t) / 2 wrong ones are found, even if those who gave them conspired. A share
here is a vector, and counts as wrong as a whole. So each vector is first folded to one number, with random weights that
are drawn after all shares are there; then a decoder of single numbers finds the wrong ones.

References: Reed and Solomon 1960; Gao 2003, "A New Algorithm for Decoding Reed-Solomon Codes".
"""

import secrets
from collections.abc import Mapping

import numpy as np

from fedward.errors import EncryptionError
from fedward.sharing.modular import MODULUS, Residues, multiply, powers, total
from fedward.sharing.shamir import combine, weights_at

Polynomial = list[int]  # coefficients, lowest first; no zeros at the end; [] is zero

_REMEDY = "Ask the hospitals that have not released theirs, or abort the round."


def find_wrong(shares: Mapping[int, Residues], threshold: int) -> tuple[int, ...]:
    """The holders whose shares are not those of one polynomial of degree below the threshold.

    Args:
        shares: By holder, from 1: uint64, shape (entries,), each below q.
        threshold: How many shares restore the secret.

    Returns:
        Holders, ascending: () where all shares agree.

    Raises:
        EncryptionError: there are fewer than `threshold`, or more of them are wrong than can be found.

    Guarantees:
        1. If at most (len(shares) - threshold) / 2 are wrong, exactly those are returned, except with a probability of
           2^-40: that a wrong vector folds to the right number, for a weight that nobody knew.
        2. The shares of holders that are not returned are, in every entry, values of one polynomial.
    """
    wrong: set[int] = set()
    for _ in range(3):  # once is enough, except with that probability
        left = {holder: share for holder, share in shares.items() if holder not in wrong}
        # What was set aside counts as one value fewer each, so that what is left may hold fewer wrong ones.
        if len(left) < threshold + len(wrong):
            break
        if agree(left, threshold):
            return tuple(sorted(wrong))
        gamma = secrets.randbelow(MODULUS - 1) + 1
        wrong |= set(_decode({holder: fold(share, gamma) for holder, share in left.items()}, threshold))
    raise EncryptionError(
        f"Of {len(shares)} shares more are wrong than can be told from the right ones, where {threshold} are needed.",
        _REMEDY,
    )


def fold(vector: Residues, gamma: int) -> int:
    """One number for a vector: the sum of its entries, each times its power of gamma, modulo q."""
    return total(multiply(vector, powers(gamma, vector.size)))


def agree(shares: Mapping[int, Residues], threshold: int) -> bool:
    """Whether shares are, in every entry, the values of one polynomial of degree below the threshold.

    Raises:
        EncryptionError: there are too few to say.
    """
    if len(shares) < threshold:
        raise EncryptionError(f"{len(shares)} shares are fewer than the {threshold} that are needed.", _REMEDY)
    holders = sorted(shares)
    basis, others = holders[:threshold], holders[threshold:]
    rows = [shares[holder] for holder in basis]
    return all(np.array_equal(combine(rows, weights_at(basis, holder)), shares[holder]) for holder in others)


def _decode(values: Mapping[int, int], threshold: int) -> tuple[int, ...]:
    """Gao's decoder: the holders whose number is not the nearest polynomial's."""
    holders = sorted(values)
    vanishing: Polynomial = [1]
    for holder in holders:
        vanishing = _multiply(vanishing, [-holder % MODULUS, 1])
    earlier, later = vanishing, _interpolate(values)
    earlier_factor, later_factor = Polynomial(), [1]
    while 2 * (len(later) - 1) >= len(holders) + threshold:  # Euclid's algorithm, stopped half-way
        quotient, rest = _divide(earlier, later)
        earlier, later = later, rest
        earlier_factor, later_factor = later_factor, _subtract(earlier_factor, _multiply(quotient, later_factor))
    message, rest = _divide(later, later_factor)
    if rest or len(message) > threshold:
        return ()  # more are wrong than the code corrects
    return tuple(holder for holder in holders if _value(message, holder) != values[holder])


def _interpolate(values: Mapping[int, int]) -> Polynomial:
    """The polynomial of least degree through all points, in Newton's form made plain."""
    found: Polynomial = []
    vanishing: Polynomial = [1]
    for holder, value in values.items():
        missing = (value - _value(found, holder)) * pow(_value(vanishing, holder), -1, MODULUS) % MODULUS
        found = _subtract(found, _multiply(vanishing, [-missing % MODULUS]))
        vanishing = _multiply(vanishing, [-holder % MODULUS, 1])
    return found


def _value(polynomial: Polynomial, point: int) -> int:
    result = 0
    for coefficient in reversed(polynomial):
        result = (result * point + coefficient) % MODULUS
    return result


def _multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    product = [0] * (len(left) + len(right))
    for place, coefficient in enumerate(left):
        for other, factor in enumerate(right):
            product[place + other] = (product[place + other] + coefficient * factor) % MODULUS
    return _trimmed(product)


def _subtract(left: Polynomial, right: Polynomial) -> Polynomial:
    size = max(len(left), len(right))
    padded = ((one + [0] * (size - len(one))) for one in (left, right))
    return _trimmed([(one - other) % MODULUS for one, other in zip(*padded, strict=True)])


def _divide(above: Polynomial, below: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Quotient and rest; the divisor is not zero."""
    rest, quotient = list(above), [0] * max(0, len(above) - len(below) + 1)
    inverse = pow(below[-1], -1, MODULUS)
    for place in reversed(range(len(quotient))):
        factor = rest[place + len(below) - 1] * inverse % MODULUS
        quotient[place] = factor
        for offset, coefficient in enumerate(below):
            rest[place + offset] = (rest[place + offset] - factor * coefficient) % MODULUS
    return _trimmed(quotient), _trimmed(rest)


def _trimmed(polynomial: Polynomial) -> Polynomial:
    while polynomial and not polynomial[-1]:
        polynomial.pop()
    return polynomial
