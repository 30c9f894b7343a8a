"""A hospital's shared key is tested without being shown, and wrong dealings, answers and releases are found."""

import dataclasses
import itertools
import random

import numpy as np
import pytest
from soak import FIRST_SEED, scaled

from fedward.errors import EncryptionError
from fedward.sharing.dealing import MASKS, answer, challenges, deal_key, find_disagreeing
from fedward.sharing.modular import MODULUS, Residues, add, multiply, subtract, uniform
from fedward.sharing.releases import restore_sum_key
from fedward.sharing.shamir import deal, weights_at

ENTRIES = 16
DRAWN = random.Random(FIRST_SEED)  # noqa: S311 - which cheats are tried, nothing secret
POINTS = challenges(b"what was recorded")


def answers_about(shares: Residues) -> dict[int, tuple[int, ...]]:
    return {row + 1: answer(share, POINTS) for row, share in enumerate(shares)}


def test_an_honest_dealing_passes() -> None:
    shares = deal_key(uniform((ENTRIES,)), 4, 6)
    assert shares.shape == (6, ENTRIES + MASKS)
    assert find_disagreeing(answers_about(shares), 4) == ()


def test_an_answer_is_the_combination_that_it_is_said_to_be() -> None:
    share = uniform((3 + MASKS,))
    expected = tuple(
        (sum(int(share[k]) * pow(point, k + 1, MODULUS) for k in range(3)) + int(share[3 + place])) % MODULUS
        for place, point in enumerate(POINTS)
    )
    assert answer(share, POINTS) == expected


@pytest.mark.parametrize("holders", [5, 6, 9])
def test_one_entry_off_by_one_is_found(holders: int) -> None:
    threshold = 2 * holders // 3 + 1
    shares = deal_key(uniform((ENTRIES,)), threshold, holders)
    shares[2, 7] = (int(shares[2, 7]) + 1) % MODULUS
    if holders - threshold >= 2:
        assert find_disagreeing(answers_about(shares), threshold) == (3,)
    else:  # seen, but with one answer to spare nobody knows whose it is
        with pytest.raises(EncryptionError, match="more are wrong than can be told"):
            find_disagreeing(answers_about(shares), threshold)


def test_a_dealing_of_too_high_a_degree_is_found() -> None:
    """With one more degree of freedom no threshold of shares restores the key, though each share looks fine."""
    shares = np.concatenate([deal(uniform((ENTRIES,)), 5, 6), deal(uniform((MASKS,)), 4, 6)], axis=1)
    with pytest.raises(EncryptionError, match="more are wrong than can be told"):
        find_disagreeing(answers_about(shares), 4)


def test_without_masks_answers_would_tell() -> None:
    """The masks matter: the answers about two keys are uniform, though one key is all zeros."""
    seen = [answer(share, POINTS) for _ in range(2000) for share in deal_key(np.zeros(4, np.uint64), 2, 2)]
    values = np.array(seen, np.float64) / MODULUS
    assert values.mean(axis=0) == pytest.approx(0.5, abs=6 * np.sqrt(1 / 12 / len(seen)))
    bare = deal(np.zeros(4, np.uint64), 2, 2)
    assert int(answer(np.concatenate([bare[0], np.zeros(MASKS, np.uint64)]), POINTS)[0]) < MODULUS


def test_challenges_follow_from_every_byte_and_are_never_zero() -> None:
    assert challenges(b"a") == challenges(b"a") != challenges(b"b")
    assert challenges(b"") != challenges(b"\0")
    assert len(set(POINTS)) == MASKS
    assert all(0 < point < MODULUS for point in POINTS)


@dataclasses.dataclass
class Round:
    """A round of small vectors with the protocol's arithmetic: messages, errors, keys, shares; and what went wrong.

    One public value stands for each entry's public polynomial, so that a ciphertext opens entry by entry.
    """

    hospitals: int
    threshold: int
    public: Residues
    messages: dict[int, Residues]
    ciphertexts: dict[int, Residues]
    shares: dict[int, Residues]  # by dealer; row j - 1 is holder j's

    @classmethod
    def play(cls, hospitals: int) -> "Round":
        threshold, public = 2 * hospitals // 3 + 1, uniform((ENTRIES,))
        names = range(1, hospitals + 1)
        messages = {name: np.array([DRAWN.randrange(2**20) << 20 for _ in range(ENTRIES)], np.uint64) for name in names}
        keys = {name: uniform((ENTRIES,)) for name in names}
        errors = {name: np.array([DRAWN.randrange(64) for _ in range(ENTRIES)], np.uint64) for name in names}
        ciphertexts = {name: add(add(messages[name], errors[name]), multiply(public, keys[name])) for name in names}
        shares = {name: deal_key(keys[name], threshold, hospitals) for name in names}
        return cls(hospitals, threshold, public, messages, ciphertexts, shares)

    def total(self, included: tuple[int, ...]) -> Residues:
        summed = np.zeros(ENTRIES, np.uint64)
        for name in included:
            summed = add(summed, self.ciphertexts[name])
        return summed

    def opened(self, included: tuple[int, ...], key: Residues) -> Residues | None:
        """The sum of the messages, if this key opens it to whole multiples of 2^20 and a little noise."""
        content = subtract(self.total(included), multiply(self.public, key))
        noise = content & np.uint64(2**20 - 1)
        fits = (content < np.uint64(2**48)).all() and (noise < np.uint64(64 * self.hospitals)).all()
        return content >> np.uint64(20) if fits else None

    def release(self, included: tuple[int, ...], holder: int) -> Residues:
        summed = np.zeros(ENTRIES, np.uint64)
        for dealer in included:
            summed = add(summed, self.shares[dealer][holder - 1][:ENTRIES])
        return summed


def included_dealers(case: Round, answering: set[int]) -> tuple[int, ...]:
    """The dealers whose sharing everybody who answers confirms."""
    found = []
    for dealer, shares in case.shares.items():
        answers = {holder: numbers for holder, numbers in answers_about(shares).items() if holder in answering}
        try:
            if find_disagreeing(answers, case.threshold) == ():
                found.append(dealer)
        except EncryptionError:
            continue
    return tuple(found)


@pytest.mark.parametrize("hospitals", range(3, 10))
def test_random_cheats_give_the_exact_sum_or_a_reason(hospitals: int) -> None:
    """Wrong dealings, dropouts after closing, wrong releases, and ciphertexts under another key than the one shared."""
    outcomes = {"exact": 0, "refused": 0}
    for _ in range(scaled(20, 1500)):
        case, names = Round.play(hospitals), range(1, hospitals + 1)
        bad_dealers = set(DRAWN.sample(names, DRAWN.choice((0, 0, 1))))
        for dealer in bad_dealers:
            case.shares[dealer][DRAWN.randrange(hospitals), DRAWN.randrange(ENTRIES)] ^= np.uint64(1)
        included = included_dealers(case, set(names))
        assert set(included) == set(names) - bad_dealers or case.threshold == hospitals
        other_key = DRAWN.random() < 0.1
        if other_key:
            case.ciphertexts[included[0]] = uniform((ENTRIES,))
        gone = set(DRAWN.sample(names, DRAWN.randint(0, hospitals - case.threshold)))
        releases = {holder: case.release(included, holder) for holder in names if holder not in gone}
        liars = DRAWN.sample(sorted(releases), DRAWN.randint(0, min(2, len(releases))))
        for liar in liars:
            releases[liar] = releases[liar].copy()
            releases[liar][DRAWN.randrange(ENTRIES)] ^= np.uint64(DRAWN.randrange(1, 2**16))
        try:
            found = restore_sum_key(
                releases,
                case.threshold,
                lambda key, case=case, included=included: case.opened(included, key) is not None,
            )
        except EncryptionError:
            outcomes["refused"] += 1
            enough = len(releases) - len(liars) >= case.threshold
            wrongly_shared = case.threshold == hospitals and bad_dealers & set(included)
            assert not enough or other_key or wrongly_shared
            continue
        outcomes["exact"] += 1
        expected = sum(case.messages[name] for name in included) >> np.uint64(20)
        assert not other_key
        assert np.array_equal(case.opened(included, found.key), expected)
        assert found.wrong == tuple(sorted(liars))
    assert outcomes["exact"] >= 3


def test_fewer_than_the_threshold_open_nothing() -> None:
    case = Round.play(5)
    included = (1, 2, 3, 4, 5)
    releases = {holder: case.release(included, holder) for holder in (1, 2, 5)}
    with pytest.raises(EncryptionError, match="3 releases do not open a sum that needs 4"):
        restore_sum_key(releases, 4, lambda _key: True)
    # Nor do they by any key that they can make of what they have.
    for count in (1, 2, 3):
        for chosen in itertools.combinations(releases, count):
            key = restore_sum_key({holder: releases[holder] for holder in chosen}, count, lambda _key: True).key
            assert case.opened(included, key) is None


def test_two_sets_that_differ_by_one_hospital_show_its_update() -> None:
    """Why a hospital releases for one set only: the check of the check, by what would happen otherwise."""
    case = Round.play(5)
    sums = []
    for included in ((1, 2, 3, 4, 5), (1, 2, 3, 4)):
        releases = {holder: case.release(included, holder) for holder in range(1, 6)}
        key = restore_sum_key(releases, 4, lambda key, kept=included: case.opened(kept, key) is not None).key
        sums.append(case.opened(included, key))
    assert np.array_equal(sums[0] - sums[1], case.messages[5] >> np.uint64(20))


def test_of_two_keys_that_both_open_neither_is_taken() -> None:
    """A single ciphertext opens under whatever key a holder wishes: its release is off by a message over the public."""
    case, included = Round.play(5), (1, 2, 3, 4, 5)
    releases = {holder: case.release(included, holder) for holder in included}
    wished = np.full(ENTRIES, 7 << 20, np.uint64)
    weight = weights_at((1, 2, 3, 4), 0)[0]
    inverses = np.array([pow(int(value) * weight, -1, MODULUS) for value in case.public], np.uint64)
    releases[1] = subtract(releases[1], multiply(wished, inverses))

    def opens(key: Residues) -> bool:
        return case.opened(included, key) is not None

    key = restore_sum_key({holder: releases[holder] for holder in (1, 2, 3, 4)}, 4, opens).key
    true = sum(case.messages[name] for name in included) >> np.uint64(20)
    assert np.array_equal(case.opened(included, key), true + np.uint64(7)), "why two ciphertexts must be looked at"
    with pytest.raises(EncryptionError, match="make two keys that both open"):
        restore_sum_key(releases, 4, opens)
    second = uniform((ENTRIES,))  # public polynomial of a second ciphertext, of zeros
    true_key = restore_sum_key({holder: releases[holder] for holder in (2, 3, 4, 5)}, 4, opens).key

    def opens_both(key: Residues) -> bool:
        noise = subtract(multiply(second, true_key), multiply(second, key))
        return opens(key) and bool((noise < np.uint64(64)).all())

    assert restore_sum_key(releases, 4, opens_both).wrong == (1,)
