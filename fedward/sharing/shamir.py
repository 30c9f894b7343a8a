"""Shamir's secret sharing of vectors over the prime q: any threshold of shares restores a secret, fewer tell nothing.

A dealer draws a polynomial of degree below the threshold for every entry of the secret, with the entry as its value at
zero. Holder j gets the values at j. Shares of several dealers add up to shares of the sum of their secrets. That is why
hospitals can release the sum of the keys of those in an aggregate, and nothing about a single key.

Reference: Shamir 1979, "How to Share a Secret".
"""

import functools
import os
from collections.abc import Mapping, Sequence

import numpy as np

from fedward.errors import EncryptionError
from fedward.sharing.modular import MODULUS, RandomBytes, Residues, add, multiply, scale, uniform


def deal(secret: Residues, threshold: int, holders: int, source: RandomBytes = os.urandom) -> Residues:
    """Split a secret.

    Args:
        secret: uint64, shape (entries,), each below q.
        threshold: How many shares restore the secret, in [1, holders].
        holders: How many shares there are; holder j, from 1, has the point j.
        source: Where random bytes come from; no setting reaches it, tests give it.

    Returns:
        uint64, shape (holders, entries): row j - 1 is for holder j alone.

    Raises:
        EncryptionError: the threshold is out of range.

    Guarantees:
        1. `restore` of any `threshold` of the shares is the secret.
        2. Fewer shares are uniform, whatever the secret: they tell nothing about it, to whatever computing power.
    """
    if not 1 <= threshold <= holders < MODULUS:
        raise EncryptionError(
            f"No secret is split among {holders} holders so that {threshold} of them restore it.",
            "Choose a threshold of at least one and at most as many as there are holders.",
        )
    points = np.arange(1, holders + 1, dtype=np.uint64)[:, None]
    shares = np.zeros((holders, secret.size), np.uint64)
    # Horner's rule, from the highest coefficient down; the secret comes last, as the value at zero.
    for coefficient in (*uniform((threshold - 1, secret.size), source), secret):
        shares = add(scale(shares, points), np.broadcast_to(coefficient, shares.shape))
    return shares


def restore(shares: Mapping[int, Residues], threshold: int) -> Residues:
    """The secret, from as many shares as the threshold says; further ones are not looked at.

    Args:
        shares: By holder, from 1: uint64, shape (entries,), each below q.
        threshold: As in `deal`.

    Raises:
        EncryptionError: there are too few.

    Limits: a wrong share gives a wrong secret. Where there are more than `threshold`, `reed_solomon.find_wrong` finds
    which are wrong.
    """
    if len(shares) < threshold:
        raise EncryptionError(
            f"{len(shares)} shares do not restore a secret that needs {threshold}.",
            "Wait for more hospitals to release theirs, or abort the round.",
        )
    chosen = sorted(shares)[:threshold]
    return combine([shares[holder] for holder in chosen], weights_at(chosen, 0))


def combine(rows: Sequence[Residues], weights: Sequence[int]) -> Residues:
    """The sum of rows, each times its weight, modulo q."""
    total = np.zeros_like(rows[0])
    for row, weight in zip(rows, weights, strict=True):
        total = add(total, multiply(row, np.uint64(weight)))
    return total


def weights_at(holders: Sequence[int], point: int) -> tuple[int, ...]:
    """Lagrange's weights: what each holder's value counts in the value at `point`."""
    return _weights(tuple(holders), point)


@functools.lru_cache(maxsize=1024)
def _weights(holders: tuple[int, ...], point: int) -> tuple[int, ...]:
    """They take milliseconds among a hundred holders, and are the same for every dealer."""
    weights = []
    for own in holders:
        above = below = 1
        for other in holders:
            if other != own:
                above = above * (point - other) % MODULUS
                below = below * (own - other) % MODULUS
        weights.append(above * pow(below, -1, MODULUS) % MODULUS)
    return tuple(weights)
