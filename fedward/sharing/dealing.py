"""Deal a round's key to the hospitals in shares, and test in public that all shares of a dealing belong to one key.

The key is dealt by Shamir's scheme, and beside it a few uniform masks. A challenge follows from the root of the sealed
shares that the dealer signed (Fiat and Shamir 1986, "How to Prove Yourself"): no dealer knows it before its shares are
fixed, and about one dealing everybody is asked the same, whatever a node tells. Each holder then publishes, for each
mask, one number: its share of the mask plus a combination of its shares of the key's entries, weighted by powers of the
challenge. Those numbers are again the values of one polynomial of degree below the threshold, if the shares are; and
the masks hide everything else about them.

Reference: Cascudo and David 2017, "SCRAPE: Scalable Randomness Attested by Public Entities", tests degrees by random
combinations. Here many dealings of one dealer are tested at once; that a wrong one passes is as likely as that a random
point is a root of a polynomial with as many coefficients as the key has entries.
"""

import functools
import hashlib
from collections.abc import Mapping
from enum import IntEnum

import numpy as np

from fedward.sharing.modular import MODULUS, Residues, multiply, powers, total, uniform
from fedward.sharing.reed_solomon import find_wrong
from fedward.sharing.shamir import deal

# A wrong dealing of 8,192 entries passes one mask's test with a probability of 2^-47; who can try 2^60 dealings before
# it sends one, until the challenge suits it, passes three with 2^-81.
MASKS = 3

Answers = tuple[int, ...]  # one number below q for each mask


class Complaint(IntEnum):
    """Why a holder has no answer about a dealer: what is wrong with the share that it was sent."""

    DOES_NOT_OPEN = 1
    WRONG_SIZE = 2
    OUT_OF_RANGE = 3  # a number is not below q


def deal_key(key: Residues, threshold: int, holders: int) -> Residues:
    """Split a key, with fresh masks appended, into shares.

    Args:
        key: uint64, shape (entries,), each below q.
        threshold: How many shares restore the key, in [1, holders].
        holders: How many hospitals are on the round's roster.

    Returns:
        uint64, shape (holders, entries + MASKS): row j - 1 is for holder j alone.

    Raises:
        EncryptionError: the threshold is out of range.
    """
    return deal(np.concatenate([key, uniform((MASKS,))]), threshold, holders)


def challenges(transcript: bytes) -> Answers:
    """The points at which dealings are tested: uniform and not zero, from all that was recorded of them.

    Args:
        transcript: Everything that a dealer fixed before; one byte more or less makes other challenges.
    """
    stream = hashlib.shake_256(b"fedward dealing challenge 1\n" + transcript).digest(32 * MASKS)
    # 256 bits a number: the remainder is uniform to within 2^-196.
    words = (int.from_bytes(stream[32 * place : 32 * (place + 1)], "little") for place in range(MASKS))
    return tuple(word % (MODULUS - 1) + 1 for word in words)


def answer(share: Residues, points: Answers) -> Answers:
    """What a holder publishes about the share that one dealer gave it.

    Args:
        share: uint64, shape (entries + MASKS,), each below q.
        points: The challenges.

    Guarantees:
        1. As long as a dealer's masks are fresh, the answers of all holders together tell nothing about its key: they
           are the values of a uniform polynomial.
    """
    entries, masks = share[:-MASKS], share[-MASKS:]
    weighted = (total(multiply(entries, _powers(point, entries.size))) for point in points)
    return tuple((part + int(mask)) % MODULUS for part, mask in zip(weighted, masks, strict=True))


@functools.lru_cache(maxsize=16 * MASKS)
def _powers(point: int, count: int) -> Residues:
    """The same for all shares of a dealing: they take as long as all else about an answer."""
    found = powers(point, count)
    found.flags.writeable = False
    return found


def find_disagreeing(answers: Mapping[int, Answers], threshold: int) -> tuple[int, ...]:
    """The holders whose answers about one dealer do not fit those of the others.

    Args:
        answers: By holder, from 1.
        threshold: How many shares restore the key.

    Returns:
        Holders, ascending; () where all shares are values of polynomials of degree below the threshold. Each holder
        that is returned either got a wrong share from the dealer, or lies about its share.

    Raises:
        EncryptionError: there are too few answers to say, or too many disagree.
    """
    return find_wrong({holder: np.array(numbers, np.uint64) for holder, numbers in answers.items()}, threshold)
