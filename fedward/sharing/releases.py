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
        opens: Whether a key opens the sum's ciphertexts to something within the bounds of noise. It must look at two of
            them at least: a holder can make a release under which one ciphertext opens to whatever it likes.

    Raises:
        EncryptionError: there are too few releases, no choice of them makes a key that opens, or two choices make two.

    Guarantees:
        1. A key that does not open is never returned.
        2. With at most (len(releases) - threshold) / 2 wrong ones the right key is found; and with any number of wrong
           ones among at most nine releases, as long as `threshold` of them are right.
        3. Where more than that many are wrong, a key is returned only if no other choice of releases that was tried
           makes another key that opens as well.
    """
    if len(releases) < threshold:
        raise EncryptionError(
            f"{len(releases)} releases do not open a sum that needs {threshold}.",
            "Wait for more hospitals to release theirs, or abort the round.",
        )
    agreeing = _agreeing(releases, threshold)
    if agreeing:
        found = _key_of(agreeing, releases, threshold)
        if opens(found.key):
            return found
    # Too many are wrong for the code alone, or they agreed on another polynomial: the ciphertexts decide.
    opening = list(itertools.islice(_opening_keys(releases, threshold, opens), 2))
    if len(opening) == 1:
        return opening[0]
    if opening:
        raise EncryptionError(
            f"The {len(releases)} releases make two keys that both open the sum: more than "
            f"{(len(releases) - threshold) // 2} are wrong, and nobody can say which.",
            "Abort the round; ask hospitals that have not released theirs.",
        )
    raise EncryptionError(
        f"No {threshold} of the {len(releases)} releases make a key that opens the sum: more than "
        f"{(len(releases) - threshold) // 2} are wrong, or an update was made under another key than the one shared.",
        "Abort the round; leave hospitals out in turn to find the one.",
    )


def _agreeing(releases: Mapping[int, Residues], threshold: int) -> tuple[int, ...]:
    """The holders whose releases are those of one polynomial; none where too many are wrong to say."""
    try:
        wrong = set(find_wrong(releases, threshold))
    except EncryptionError:
        return ()
    return tuple(holder for holder in sorted(releases) if holder not in wrong)


def _opening_keys(
    releases: Mapping[int, Residues], threshold: int, opens: Callable[[Residues], bool]
) -> Iterator[SumKey]:
    """The different keys that open, of one choice of releases after the other."""
    seen: list[set[int]] = []
    for chosen in itertools.islice(itertools.combinations(sorted(releases), threshold), _MOST_TRIES):
        if any(set(chosen) <= holders for holders in seen):
            continue  # the same polynomial, and so the same key
        found = _key_of(chosen, releases, threshold)
        if opens(found.key):
            seen.append(set(releases) - set(found.wrong))
            yield found


def _key_of(holders: tuple[int, ...], releases: Mapping[int, Residues], threshold: int) -> SumKey:
    """The key of the polynomial through the first releases of these holders."""
    chosen = holders[:threshold]
    key = restore({holder: releases[holder] for holder in chosen}, threshold)
    return SumKey(key, _others_than(chosen, releases))


def _others_than(chosen: tuple[int, ...], releases: Mapping[int, Residues]) -> tuple[int, ...]:
    """The holders who are not on the polynomial of the chosen ones."""
    rows = [releases[holder] for holder in chosen]
    return tuple(
        holder
        for holder in sorted(releases)
        if holder not in chosen and not np.array_equal(combine(rows, weights_at(chosen, holder)), releases[holder])
    )
