"""Naming who ruins rounds, from recorded rounds alone: whoever does it is found, and nobody is framed."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockchain.attribution import AttributionRules, Lot, PastRound, Standing, after
from blockchain.ledger.records import RoundPhase
from fedward.types import Address

RULES = AttributionRules(suspension=20, patience=10)
LOT = Lot(1, Address("0x" + "ab" * 20))
ACCEPTED, REJECTED = RoundPhase.ACCEPTED, RoundPhase.REJECTED

Judge = Callable[[int, frozenset[int]], bool]  # (round, who is in the sum) -> whether it is rejected


def roots(rng: random.Random, places: frozenset[int]) -> dict[int, bytes]:
    return {place: rng.randbytes(32) for place in places}


def lead(
    rounds: int, judge: Judge, hospitals: int = 5, seed: int = 0, rules: AttributionRules = RULES
) -> list[Standing]:
    """Standings before the first round and after each, of a server that keeps to the rules."""
    rng, everybody = random.Random(seed), frozenset(range(hospitals))  # noqa: S311 - a test's
    standings = [Standing()]
    for index in range(1, rounds + 1):
        standing, committed = standings[-1], roots(rng, everybody)
        included = everybody - standing.suspended(index).keys()
        drawn = LOT.drawn(standing, index, committed)
        if drawn is not None:
            included -= {drawn}
        phase = REJECTED if judge(index, included) else ACCEPTED
        standings.append(after(standing, PastRound(index, phase, included, committed), rules, LOT))
    return standings


def named(standings: list[Standing]) -> list[int]:
    return [naming.place for naming in standings[-1].named]


@pytest.mark.parametrize("culprit", range(5))
def test_whoever_ruins_every_round_is_named_and_nobody_else(culprit: int) -> None:
    took = []
    for seed in range(200):
        standings = lead(40, lambda _, included: culprit in included, seed=seed)
        assert named(standings)[0] == culprit
        assert set(named(standings)) == {culprit}
        took.append(standings[-1].named[0].round_index)
    assert sum(rounds <= 10 for rounds in took) >= 0.9 * len(took), "within ten rounds of the first poisoned one"


def test_a_suspension_ends_and_begins_again_with_new_evidence() -> None:
    standings = lead(60, lambda _, included: 2 in included)
    first, second = standings[-1].named[:2]
    assert first.until == first.round_index + RULES.suspension
    assert 2 in standings[first.until - 1].suspended(first.until)
    assert 2 not in standings[first.until].suspended(first.until + 1)
    assert second.rejected[0] > first.until


@given(st.integers(0, 2**32), st.sets(st.integers(1, 60)), st.sampled_from([3, 5, 8]))
def test_a_culprit_that_pauses_whenever_it_likes_frames_nobody(seed: int, pauses: set[int], hospitals: int) -> None:
    standings = lead(60, lambda index, included: 0 in included and index not in pauses, hospitals, seed)
    assert set(named(standings)) <= {0}


@given(st.integers(0, 2**32))
def test_a_culprit_that_knew_the_lot_and_paused_for_one_hospital_would_not_frame_it(seed: int) -> None:
    """Neither the culprit nor that hospital is ever cleared, so two suspects remain."""
    standings = lead(60, lambda _, included: {0, 1} <= included, seed=seed)
    assert named(standings) == []


@given(st.integers(0, 2**32))
def test_two_who_attack_all_the_time_clear_each_other_and_frame_nobody(seed: int) -> None:
    standings = lead(60, lambda _, included: bool({0, 1} & included), seed=seed)
    assert named(standings) == []


def test_single_false_alarms_name_nobody_and_the_inquiry_ends() -> None:
    for alarm in range(1, 30):
        standings = lead(60, lambda index, _, alarm=alarm: index == alarm)
        assert named(standings) == []
        assert standings[alarm].suspects == frozenset(range(5))
        assert standings[alarm + RULES.patience].suspects == frozenset()
        assert LOT.drawn(standings[-1], 61, {0: bytes(32)}) is None


def test_false_alarms_and_misses_rarely_name_an_honest_hospital() -> None:
    wrong = found = 0
    for seed in range(300):
        rng = random.Random(seed)  # noqa: S311 - a test's
        alarms = [rng.random() for _ in range(41)]
        standings = lead(
            40, lambda index, included, alarms=alarms: alarms[index] < (0.95 if 3 in included else 0.02), seed=seed
        )
        first = named(standings)[:1]
        wrong += first not in ([], [3])
        found += first == [3]
    assert wrong <= 3
    assert found >= 285


def test_the_lot_depends_on_every_commitment_and_falls_on_suspects_alone() -> None:
    rng = random.Random(4)  # noqa: S311 - a test's
    standing = Standing(suspects=frozenset({1, 2, 4}), rejected=(1,))
    counts = dict.fromkeys(range(5), 0)
    for index in range(600):
        committed = roots(rng, frozenset(range(5)))
        drawn = LOT.drawn(standing, index, committed)
        assert drawn == LOT.drawn(standing, index, dict(reversed(committed.items())))
        assert drawn is not None
        counts[drawn] += 1
    assert counts[0] == counts[3] == 0
    assert all(150 < counts[place] < 250 for place in (1, 2, 4))
    committed = roots(rng, frozenset(range(5)))
    others = {LOT.drawn(standing, 7, committed | {0: rng.randbytes(32)}) for _ in range(50)}
    assert others == {1, 2, 4}, "also what a hospital commits to that is no suspect"
    assert LOT.drawn(standing, 7, {0: bytes(32), 3: bytes(32)}) is None


def test_whoever_is_left_out_against_the_lot_is_not_cleared() -> None:
    rng, everybody = random.Random(1), frozenset(range(5))  # noqa: S311 - a test's
    first = after(Standing(), PastRound(1, REJECTED, everybody, roots(rng, everybody)), RULES, LOT)
    committed = roots(rng, everybody)
    drawn = LOT.drawn(first, 2, committed)
    for place in everybody:
        then = after(first, PastRound(2, REJECTED, everybody - {place}, committed), RULES, LOT)
        assert then.suspects == (everybody - {place} if place == drawn else everybody)


def test_aborted_rounds_tell_nothing_and_without_suspension_nothing_is_done() -> None:
    rng, everybody = random.Random(1), frozenset(range(5))  # noqa: S311 - a test's
    aborted = PastRound(1, RoundPhase.ABORTED, everybody, roots(rng, everybody))
    assert after(Standing(), aborted, RULES, LOT) == Standing()
    off = AttributionRules(suspension=0, patience=10)
    assert lead(20, lambda _, included: 0 in included, rules=off)[-1] == Standing()
