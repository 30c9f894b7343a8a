"""Who is named when word stands against word: wrong dealings, lying holders, and what nobody can tell."""

import itertools
import random
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from soak import FIRST_SEED, scaled

from fedward.errors import QuorumError
from fedward.sharing.answer_sheets import AnswerSheet, state
from fedward.sharing.dealing import MASKS, Answers, Complaint, answer, challenges, deal_key
from fedward.sharing.judging import Fault, WrongDealing, find_culprits, judge_dealings
from fedward.sharing.modular import MODULUS, Residues, uniform
from fedward.sharing.shamir import deal

POINTS = challenges(b"what was recorded")
LIE: Answers = (1, 2, 3)
DRAWN = random.Random(FIRST_SEED)  # noqa: S311 - which cheats are tried, nothing secret


def most_cheats(hospitals: int) -> int:
    return (hospitals - 1) // 3


def dealings(hospitals: int) -> dict[int, Residues]:
    """Shares by dealer."""
    threshold = 2 * hospitals // 3 + 1
    return {dealer: deal_key(uniform((4,)), threshold, hospitals) for dealer in range(1, hospitals + 1)}


def sheets_of(
    shares: Mapping[int, Residues],
    lies: Mapping[tuple[int, int], Answers | Complaint] | None = None,
    *,
    silent: Iterable[int] = (),
    stating: bool = True,
) -> dict[int, AnswerSheet]:
    """Sheets by holder; `lies` by (dealer, holder) stand in place of the true answers."""
    lies = lies or {}
    return {
        holder: AnswerSheet(
            {
                dealer: lies.get((dealer, holder), answer(rows[holder - 1], POINTS))
                for dealer, rows in sorted(shares.items())
            },
            state(shares[holder], POINTS) if stating and holder in shares else (),
        )
        for holder in range(1, len(next(iter(shares.values()))) + 1)
        if holder not in silent
    }


@pytest.mark.parametrize("stating", [True, False])
@pytest.mark.parametrize("hospitals", range(2, 10))
def test_honest_dealings_stay(hospitals: int, stating: bool) -> None:
    threshold = 2 * hospitals // 3 + 1
    judgment = judge_dealings(
        sheets_of(dealings(hospitals), stating=stating), range(1, hospitals + 1), threshold, hospitals
    )
    assert judgment.wrong_dealers == {}
    assert judgment.set_aside_holders == ()
    assert judgment.holders == tuple(range(1, hospitals + 1))
    assert judgment.tested == (stating or hospitals > threshold)


def test_fewer_answers_than_the_threshold_are_no_judgment() -> None:
    with pytest.raises(QuorumError, match="3 hospitals answered about their shares, where 4 are needed"):
        judge_dealings(sheets_of(dealings(5), silent=(1, 2)), range(1, 6), 4, 5)


@pytest.mark.parametrize("hospitals", range(4, 10))
def test_one_holder_that_lies_about_many_is_named_and_no_dealer_is_lost(hospitals: int) -> None:
    """Without statements, four to six hospitals have one spare answer: nobody knows whose lie it is that is seen."""
    shares, liar = dealings(hospitals), 2
    for said in (LIE, Complaint.DOES_NOT_OPEN):
        lies = {(dealer, liar): said for dealer in range(1, most_cheats(hospitals) + 2)}
        judgment = judge_dealings(sheets_of(shares, lies), range(1, hospitals + 1), 2 * hospitals // 3 + 1, hospitals)
        assert judgment.set_aside_holders == (liar,)
        assert judgment.wrong_dealers == {}
        assert liar not in judgment.holders
    unstated = judge_dealings(
        sheets_of(shares, dict.fromkeys(((dealer, liar) for dealer in shares), LIE), stating=False),
        range(1, hospitals + 1),
        2 * hospitals // 3 + 1,
        hospitals,
    )
    if hospitals < 7:
        assert {each.fault for each in unstated.wrong_dealers.values()} == {Fault.UNDECIDED}
        assert len(unstated.wrong_dealers) == hospitals
    else:
        assert unstated.set_aside_holders == (liar,)
        assert unstated.wrong_dealers == {}


def test_of_three_the_one_against_the_two_others_is_named() -> None:
    judgment = judge_dealings(sheets_of(dealings(3), {(1, 3): LIE, (2, 3): LIE}), range(1, 4), 3, 3)
    assert judgment.set_aside_holders == (3,)
    shares = dealings(3)
    sheets = sheets_of(shares)
    shares[1][1:, 0] ^= np.uint64(1)  # dealt to two others; the statement was made before
    wrong = {holder: AnswerSheet(sheets_of(shares)[holder].answers, sheets[holder].statement) for holder in sheets}
    judgment = judge_dealings(wrong, range(1, 4), 3, 3)
    assert judgment.wrong_dealers == {1: WrongDealing(Fault.CONTRADICTED, (2, 3))}
    assert judgment.set_aside_holders == ()


def test_word_against_word_leaves_the_dealer_out_and_says_who_contradicts() -> None:
    judgment = judge_dealings(sheets_of(dealings(5), {(4, 2): LIE}), range(1, 6), 4, 5)
    assert judgment.wrong_dealers == {4: WrongDealing(Fault.DISPUTED, (2,))}
    assert judgment.set_aside_holders == ()
    assert judgment.holders == (1, 2, 3, 4, 5)


def test_two_dealers_that_both_wrong_one_holder_do_not_get_it_set_aside() -> None:
    """Of seven two may cheat, so its word stands against theirs; with five it would be the likelier culprit."""
    lies = {(1, 6): LIE, (2, 6): LIE}
    judgment = judge_dealings(sheets_of(dealings(7), lies), range(1, 8), 5, 7)
    assert judgment.wrong_dealers == {one: WrongDealing(Fault.DISPUTED, (6,)) for one in (1, 2)}
    assert judgment.set_aside_holders == ()


def test_a_dealing_that_is_no_sharing_convicts_its_dealer_by_its_own_statement() -> None:
    shares = dealings(5)
    shares[3] = np.concatenate([deal(uniform((4,)), 5, 5), deal(uniform((MASKS,)), 4, 5)], axis=1)
    judgment = judge_dealings(sheets_of(shares), range(1, 6), 4, 5)
    assert judgment.wrong_dealers == {3: WrongDealing(Fault.NO_POLYNOMIAL)}
    # A dealer that says nothing instead gains nothing: with a spare answer, its shares are seen to fit no polynomial.
    sheets = sheets_of(shares)
    sheets[3] = AnswerSheet(sheets[3].answers)
    judgment = judge_dealings(sheets, range(1, 6), 4, 5)
    assert judgment.wrong_dealers == {3: WrongDealing(Fault.UNDECIDED)}
    # Nor one that states too few numbers, or too many.
    sheets[3] = AnswerSheet(sheets[3].answers, sheets_of(shares)[3].statement[:4])
    assert judge_dealings(sheets, range(1, 6), 4, 5).wrong_dealers == {3: WrongDealing(Fault.NO_POLYNOMIAL)}


def test_a_dealer_that_dropped_out_keeps_its_place_if_the_others_agree() -> None:
    judgment = judge_dealings(sheets_of(dealings(5), silent=(3,)), range(1, 6), 4, 5)
    assert judgment.wrong_dealers == {}
    assert judgment.holders == (1, 2, 4, 5)
    assert not judgment.tested, "four answers that any four numbers would fit"


def test_a_liar_that_is_set_aside_decides_nothing_about_the_others() -> None:
    """Of seven hospitals one dropped out after it submitted, and one lies about all."""
    shares = dealings(7)
    lies = {(dealer, 2): LIE for dealer in shares}
    judgment = judge_dealings(sheets_of(shares, lies, silent=(5,)), range(1, 8), 5, 7)
    assert judgment.set_aside_holders == (2,)
    assert judgment.wrong_dealers == {}


def test_what_sheets_say_about_others_than_were_asked_about_is_not_looked_at() -> None:
    shares = dealings(5)
    del shares[5]  # it submitted nothing
    sheets = sheets_of(shares)
    sheets[1] = AnswerSheet({**sheets[1].answers, 5: LIE, 77: LIE}, sheets[1].statement)
    judgment = judge_dealings(sheets, range(1, 5), 4, 5)
    assert judgment.wrong_dealers == {}
    assert judgment.set_aside_holders == ()
    # But a sheet that leaves somebody out complains.
    sheets[1] = AnswerSheet({2: sheets[1].answers[2]}, sheets[1].statement)
    assert judge_dealings(sheets, range(1, 5), 4, 5).set_aside_holders == (1,)


@pytest.mark.parametrize("hospitals", [4, 5, 6, 7, 10, 13])
def test_up_to_a_third_of_cheats_never_get_an_honest_holder_set_aside(hospitals: int) -> None:
    """Whatever they say, deal and state: honest holders keep their voice, and what stays is one polynomial for them."""
    threshold, names = 2 * hospitals // 3 + 1, range(1, hospitals + 1)
    for _ in range(scaled(10, 1000)):
        cheats = DRAWN.sample(names, DRAWN.randint(0, most_cheats(hospitals)))
        honest = set(names) - set(cheats)
        shares = dealings(hospitals)
        sheets = sheets_of(shares)
        targets = DRAWN.sample(names, DRAWN.randint(1, hospitals))
        for cheat in cheats:
            for holder in DRAWN.sample(names, DRAWN.randint(0, hospitals)):
                shares[cheat][holder - 1, DRAWN.randrange(4)] ^= np.uint64(DRAWN.randrange(1, 2**20))
        told = sheets_of(shares)
        for holder in names:
            said = dict(told[holder].answers)
            statement = sheets[holder].statement
            if holder in cheats:
                for dealer in DRAWN.sample(targets, DRAWN.randint(0, len(targets))):
                    said[dealer] = DRAWN.choice((LIE, Complaint.OUT_OF_RANGE))
                statement = DRAWN.choice((statement, told[holder].statement, (), (LIE,) * hospitals))
            sheets[holder] = AnswerSheet(said, statement)
        if len(cheats) <= hospitals - threshold:
            for cheat in cheats:
                if DRAWN.random() < 0.1:
                    del sheets[cheat]
        judgment = judge_dealings(sheets, names, threshold, hospitals)
        assert not set(judgment.set_aside_holders) & honest
        for dealer in honest & set(judgment.wrong_dealers):
            assert judgment.wrong_dealers[dealer].fault is Fault.DISPUTED
        disputes = sum(
            each.fault is Fault.DISPUTED for dealer, each in judgment.wrong_dealers.items() if dealer in honest
        )
        assert disputes <= most_cheats(hospitals) * len(cheats)
        for dealer in set(names) - set(judgment.wrong_dealers):
            for place in range(4):
                points = {holder: int(shares[dealer][holder - 1, place]) for holder in sorted(honest)}
                assert degree_below(points, threshold)


def degree_below(points: Mapping[int, int], threshold: int) -> bool:
    """By divided differences, as it is in textbooks."""
    where, values = list(points), list(points.values())
    for order in range(1, len(where)):
        values = [
            (after - before) * pow(where[place + order] - where[place], -1, MODULUS) % MODULUS
            for place, (before, after) in enumerate(itertools.pairwise(values))
        ]
        if order >= threshold and any(values):
            return False
    return True


def test_culprits_are_those_in_every_explanation_by_few() -> None:
    """Against all explanations, one by one: nobody is named who is not in each of them."""
    for _ in range(scaled(300, 5000)):
        hospitals = DRAWN.randint(3, 9)
        names, most = range(1, hospitals + 1), most_cheats(hospitals)
        cheats = DRAWN.sample(names, DRAWN.randint(0, most))
        conflicts = {
            DRAWN.choice(((cheat, other), (other, cheat)))
            for cheat in cheats
            for other in DRAWN.sample(names, DRAWN.randint(0, hospitals))
        }
        explanations = [
            set(chosen)
            for size in range(most + 1)
            for chosen in itertools.combinations(names, size)
            if all(left in chosen or right in chosen for left, right in conflicts)
        ]
        assert explanations
        culprits = find_culprits(conflicts, most)
        assert culprits <= set.intersection(*explanations)
        if most == 1:
            assert culprits == (set.intersection(*explanations) if conflicts else set())


def test_two_liars_that_share_the_work_are_both_named() -> None:
    """Each accuses no more dealers than could cheat; together they would need four cheats where two may be."""
    assert find_culprits([(1, 6), (2, 6), (3, 7), (4, 7)], 2) == {6, 7}
    assert find_culprits([(1, 6), (2, 6)], 2) == set()


def test_a_hundred_hospitals_are_judged_in_a_moment() -> None:
    hospitals, threshold = 128, 86
    rows = deal_key(uniform((4,)), threshold, hospitals)
    shares = dict.fromkeys(range(1, hospitals + 1), rows)
    statement = state(rows, POINTS)
    sheets = {holder: AnswerSheet(dict.fromkeys(shares, statement[holder - 1]), statement) for holder in shares}
    lying = dict.fromkeys(shares, LIE)
    judgment = judge_dealings({**sheets, 9: AnswerSheet(lying, sheets[9].statement)}, shares, threshold, hospitals)
    assert judgment.set_aside_holders == (9,)
    assert judgment.wrong_dealers == {}
