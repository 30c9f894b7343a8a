"""Restore the key of a sum of updates from the sums of shares that hospitals release, even if some are wrong.

Where there are enough releases beyond the threshold, wrong ones are found from the releases alone (`reed_solomon`).
Where there are too few for that, the ciphertexts decide: a wrong key decrypts them to noise of the size of the modulus,
which nobody overlooks.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fedward.errors import EncryptionError
from fedward.sharing.modular import Residues
from fedward.sharing.reed_solomon import find_wrong
from fedward.sharing.shamir import combine, restore, weights_at

# Each takes a few milliseconds. With up to nine hospitals there are at most 36 choices of as many as are needed.
_MOST_TRIES = 500


@dataclass(frozen=True)
class SumKey:
    """The restored key of a sum, and who released something that does not fit this key.

    Attributes:
        key: uint64, shape (entries,), each below q.
        wrong: The holders whose releases are not those of this key, ascending.
    """

    key: Residues
    wrong: tuple[int, ...]


def restore_sum_key(releases: Mapping[int, Residues], threshold: int, opens: Callable[[Residues], bool]) -> SumKey:
    """The key that opens the sum, and who released something else.

    Args:
        releases: By holder, from 1: the sum of the shares of all dealers in the set; uint64, each below q.
        threshold: Of the dealings.
        opens: Whether a key opens the sum's ciphertexts to something within the bounds of noise.

    Raises:
        EncryptionError: there are too few releases, or no choice of them makes a key that opens.

    Guarantees:
        1. A key that does not open is never returned.
        2. With at most (len(releases) - threshold) / 2 wrong ones the right key is found; and with any number of wrong
           ones among at most nine releases, as long as `threshold` of them are right.
    """
    for chosen in _choices(releases, threshold):
        key = restore({holder: releases[holder] for holder in chosen}, threshold)
        if opens(key):
            return SumKey(key, _others_than(chosen, releases))
    raise EncryptionError(
        f"No {threshold} of the {len(releases)} releases make a key that opens the sum: more than "
        f"{(len(releases) - threshold) // 2} are wrong, or an update was made under another key than the one shared.",
        "Abort the round; leave hospitals out in turn to find the one.",
    )


def _choices(releases: Mapping[int, Residues], threshold: int) -> Iterator[tuple[int, ...]]:
    """As many holders as the threshold needs: first those who agree, then one choice after the other."""
    if len(releases) < threshold:
        raise EncryptionError(
            f"{len(releases)} releases do not open a sum that needs {threshold}.",
            "Wait for more hospitals to release theirs, or abort the round.",
        )
    try:
        wrong = set(find_wrong(releases, threshold))
    except EncryptionError:
        pass
    else:
        yield tuple(holder for holder in sorted(releases) if holder not in wrong)[:threshold]
    # Too many are wrong for the code alone, or they agreed on another polynomial: the ciphertexts decide.
    yield from itertools.islice(itertools.combinations(sorted(releases), threshold), _MOST_TRIES)


def _others_than(chosen: tuple[int, ...], releases: Mapping[int, Residues]) -> tuple[int, ...]:
    """The holders who are not on the polynomial of the chosen ones."""
    rows = [releases[holder] for holder in chosen]
    return tuple(
        holder
        for holder in sorted(releases)
        if holder not in chosen and not np.array_equal(combine(rows, weights_at(chosen, holder)), releases[holder])
    )
