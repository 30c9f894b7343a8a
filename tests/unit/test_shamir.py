"""Secrets split and restored, sums of several dealers, and who gave a wrong share."""

import itertools
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward.errors import EncryptionError
from fedward.sharing.modular import MODULUS, add, uniform
from fedward.sharing.reed_solomon import agree, find_wrong
from fedward.sharing.shamir import deal, restore, weights_at

ENTRIES = 5


def by_holder(shares: np.ndarray) -> dict[int, np.ndarray]:
    return {row + 1: share for row, share in enumerate(shares)}


@pytest.mark.parametrize(("holders", "threshold"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (7, 5)])
def test_any_threshold_of_shares_restores_and_one_less_does_not(holders: int, threshold: int) -> None:
    secret = uniform((ENTRIES,))
    shares = by_holder(deal(secret, threshold, holders))
    for chosen in itertools.combinations(shares, threshold):
        assert np.array_equal(restore({holder: shares[holder] for holder in chosen}, threshold), secret)
    few = dict(itertools.islice(shares.items(), threshold - 1))
    with pytest.raises(EncryptionError, match=f"{threshold - 1} shares do not restore"):
        restore(few, threshold)
    if few:  # whoever takes the threshold for smaller gets something else
        assert not np.array_equal(restore(few, threshold - 1), secret)


def test_a_share_is_the_value_of_the_polynomial_at_its_holder() -> None:
    """Against whole numbers: secret 5, coefficients 3 and 2, as the source gives them."""
    words = iter((3).to_bytes(8, "little") + (2).to_bytes(8, "little"))
    shares = deal(np.array([5], np.uint64), 3, 4, lambda length: bytes(next(words) for _ in range(length)))
    assert shares[:, 0].tolist() == [5 + 2 * x + 3 * x * x for x in (1, 2, 3, 4)]


def test_fewer_shares_fit_every_secret_equally() -> None:
    """Given t - 1 shares, each secret is had by exactly one polynomial: so they tell nothing."""
    shares = by_holder(deal(uniform((ENTRIES,)), 4, 5))
    known = {holder: shares[holder] for holder in (1, 2, 4)}
    for other in (uniform((ENTRIES,)), np.zeros(ENTRIES, np.uint64)):
        # The value at 5 that makes `other` the secret: it exists, so nothing about the secret follows from the three.
        weights = weights_at([1, 2, 4, 5], 0)
        rest = [
            (int(secret) - sum(w * int(known[h][i]) for w, h in zip(weights, known, strict=False))) % MODULUS
            for i, secret in enumerate(other)
        ]
        last = np.array([value * pow(weights[3], -1, MODULUS) % MODULUS for value in rest], np.uint64)
        assert np.array_equal(restore(known | {5: last}, 4), other)


def test_shares_look_uniform_whatever_the_secret() -> None:
    shares = deal(np.zeros(20_000, np.uint64), 2, 3).astype(np.float64) / MODULUS
    assert shares.mean(axis=1) == pytest.approx(0.5, abs=6 * np.sqrt(1 / 12 / 20_000))


def test_sums_of_shares_are_shares_of_the_sum() -> None:
    secrets = [uniform((ENTRIES,)) for _ in range(3)]
    dealt = [deal(secret, 3, 4) for secret in secrets]
    summed = add(add(dealt[0], dealt[1]), dealt[2])
    assert np.array_equal(restore(by_holder(summed), 3), add(add(secrets[0], secrets[1]), secrets[2]))


@pytest.mark.parametrize(("threshold", "holders"), [(0, 3), (4, 3), (-1, 1)])
def test_impossible_thresholds_are_refused(threshold: int, holders: int) -> None:
    with pytest.raises(EncryptionError, match=f"among {holders} holders so that {threshold} of them"):
        deal(uniform((ENTRIES,)), threshold, holders)


@st.composite
def cheated(draw: st.DrawFn) -> tuple[int, int, list[int], int]:
    holders = draw(st.integers(1, 12))
    threshold = draw(st.integers(1, holders))
    here = draw(st.lists(st.integers(1, holders), min_size=threshold, max_size=holders, unique=True))
    return holders, threshold, here, draw(st.integers(0, len(here)))


@settings(deadline=None)
@given(cheated(), st.randoms())
def test_wrong_shares_are_named_or_nothing_is_said(case: tuple[int, int, list[int], int], random: Random) -> None:
    holders, threshold, here, liars = case
    dealt = by_holder(deal(uniform((ENTRIES,)), threshold, holders))
    shares = {holder: dealt[holder].copy() for holder in here}
    wrong = sorted(random.sample(here, liars))
    for holder in wrong:
        place = random.randrange(ENTRIES)
        shares[holder][place] = (int(shares[holder][place]) + random.randrange(1, MODULUS)) % MODULUS
    if 2 * liars <= len(here) - threshold:
        assert find_wrong(shares, threshold) == tuple(wrong)
    elif len(here) > threshold:
        # More liars than can be found. They may be told from the others all the same, never blamed on one polynomial.
        try:
            named = find_wrong(shares, threshold)
        except EncryptionError:
            return
        assert agree({holder: share for holder, share in shares.items() if holder not in named}, threshold)


def test_liars_who_agree_on_a_polynomial_of_their_own_are_found() -> None:
    shares = by_holder(deal(uniform((ENTRIES,)), 3, 9))
    theirs = by_holder(deal(uniform((ENTRIES,)), 3, 9))
    for holder in (2, 5, 9):
        shares[holder] = theirs[holder]
    assert find_wrong(shares, 3) == (2, 5, 9)


def test_a_majority_of_liars_is_believed_by_no_means_silently() -> None:
    """What Reed and Solomon cannot do: with more than (m - t) / 2 liars who agree, the honest look like the liars."""
    shares = by_holder(deal(uniform((ENTRIES,)), 2, 6))
    theirs = by_holder(deal(uniform((ENTRIES,)), 2, 6))
    for holder in (1, 2, 3):  # three of six: neither side has more
        shares[holder] = theirs[holder]
    with pytest.raises(EncryptionError, match="more are wrong than can be told"):
        find_wrong(shares, 2)


def test_too_few_shares_cannot_be_compared() -> None:
    with pytest.raises(EncryptionError, match="fewer than the 3"):
        agree(by_holder(deal(uniform((ENTRIES,)), 2, 2)), 3)
