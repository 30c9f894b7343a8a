"""Judge who dealt wrong shares, and who only says so, from what all hospitals answered. Anybody can repeat it.

Where a dealer's word stands against a holder's, one of them cheats (or its machine is broken), and nobody else can see
which. But few cheat. A hospital that is contradicted by more others than can be cheats is one itself: so is a holder
that complains about nearly everybody, and a dealer that nearly everybody complains about. More exactly: if a hospital
is honest, then all that contradict it cheat, and of any two others that contradict each other at least one cheats too.
Where those are too many, the hospital is a culprit.

A holder that is a culprit is set aside: its word and its release do not count, and the dealers that it alone accuses
stay. Otherwise an accused dealer is left out, even if it may be honest: a release that is missing or wrong hurts
everybody, an update that is missing does not.

docs/adr/0028 tells why dealers state what holders must answer, and what cannot be told without that.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from fedward.errors import EncryptionError, QuorumError
from fedward.sharing.answer_sheets import AnswerSheet
from fedward.sharing.dealing import Answers, Complaint, find_disagreeing
from fedward.sharing.shamir import combine, weights_at

Conflict = tuple[int, int]  # dealer, holder; one of them cheats


class Fault(Enum):
    """Why a dealer is left out."""

    NO_POLYNOMIAL = "what it states about its own shares is no sharing of a key"
    CONTRADICTED = "more hospitals contradict it than could be cheating"
    DISPUTED = "its word stands against that of holders who are not known to cheat"
    UNDECIDED = "it states nothing about its shares, and the answers of the others do not tell who is wrong"


@dataclass(frozen=True)
class WrongDealing:
    """A dealer that is left out.

    Attributes:
        fault: Why.
        holders: Who contradicts it and is not set aside, ascending.
    """

    fault: Fault
    holders: tuple[int, ...] = ()


@dataclass(frozen=True)
class Judgment:
    """What follows from the answers.

    Attributes:
        wrong_dealers: Whose updates are left out, and why; ascending.
        set_aside_holders: Who cheated as a holder, ascending: their releases do not count.
        holders: Whose releases count: who answered and is not set aside, ascending. A holder that did not answer may
            have been dealt a wrong share, which nobody tested. Where these are fewer than the threshold, the round
            cannot be opened.
        tested: Whether each dealer that stays was tested: by its own statement, or by more answers than the threshold.
    """

    wrong_dealers: Mapping[int, WrongDealing]
    set_aside_holders: tuple[int, ...]
    holders: tuple[int, ...]
    tested: bool


def judge_dealings(
    sheets: Mapping[int, AnswerSheet], dealers: Collection[int], threshold: int, hospitals: int
) -> Judgment:
    """Decide which dealers' updates are left out, and which holders are set aside.

    Args:
        sheets: By holder, from 1: what each answered, in time and signed. A sheet that says nothing about one of the
            dealers complains about it.
        dealers: About whom they were asked; what a sheet says about others is not looked at.
        threshold: Of the dealings.
        hospitals: On the round's roster, so many holders.

    Raises:
        QuorumError: there are fewer answers than the threshold; the round cannot be opened.

    Guarantees: let f be (hospitals - 1) // 3, and let at most f hospitals cheat in all, as dealer, as holder or both.

        1. For a dealer that stays, the shares of all honest holders that answered are values of one polynomial of
           degree below the threshold, except with a probability of 2^-81.
        2. If every honest dealer made its statement, then no honest holder is set aside, and no honest dealer is
           called contradicted or without a polynomial.
        3. If every honest dealer made its statement, then an honest dealer is left out only as disputed, and each
           cheat brings this about for at most f.
        4. Without statements 2 holds while at most (answers - threshold) / 2 holders cheat.
        5. The judgment follows from the arguments alone.

    Limits: With more cheats than f the judgment assumes as few as explain the answers, and may name the wrong ones.
    A single conflict is never decided: the dealer is left out as disputed, and either may have cheated. That a dealer
    encrypted under another key than it dealt is not seen here.
    """
    if len(sheets) < threshold:
        raise QuorumError(
            f"{len(sheets)} hospitals answered about their shares, where {threshold} are needed to open a sum.",
            "Abort the round, and open it again when more hospitals can be reached.",
        )
    stated, wrong, conflicts = _from_statements(sheets, dealers, threshold, hospitals)
    unstated = sorted(set(dealers) - stated - set(wrong))
    aside: set[int] = set()
    while True:
        heard = {holder: sheet for holder, sheet in sheets.items() if holder not in aside}
        found, undecided = _from_others(heard, unstated, threshold)
        conflicts |= found
        unstated = undecided
        culprits = find_culprits(conflicts, (hospitals - 1) // 3)
        fresh = {holder for _, holder in conflicts if holder in culprits} - aside
        if not fresh:
            break
        aside |= fresh  # with fewer liars, the answers about other dealers may tell more
    for dealer in sorted(set(dealers) - set(wrong)):
        against = tuple(sorted(holder for other, holder in conflicts if other == dealer and holder not in aside))
        if dealer in undecided:
            wrong[dealer] = WrongDealing(Fault.UNDECIDED, against)
        elif against:
            wrong[dealer] = WrongDealing(Fault.CONTRADICTED if dealer in culprits else Fault.DISPUTED, against)
    tested = all(
        dealer in stated or len(_numbers(heard, dealer)) > threshold for dealer in dealers if dealer not in wrong
    )
    return Judgment(dict(sorted(wrong.items())), tuple(sorted(aside)), tuple(sorted(heard)), tested)


def find_culprits(conflicts: Iterable[Conflict], most: int) -> frozenset[int]:
    """The hospitals that cheat in whatever way the conflicts came about, as long as at most so many cheat in all.

    Args:
        conflicts: Pairs of hospitals, at least one of which cheats.
        most: How many may cheat. Where the conflicts show that more do, as few are assumed as explain them.
    """
    opponents: dict[int, set[int]] = {}
    for left, right in conflicts:
        opponents.setdefault(left, set()).add(right)
        opponents.setdefault(right, set()).add(left)
    # How many cheat at the least, if this one does not. One that contradicts itself cheats whatever the others do.
    at_least = {
        one: len(opponents) + most + 1 if one in others else len(others) + _disjoint(opponents, {one, *others})
        for one, others in opponents.items()
    }
    assumed = max(most, _disjoint(opponents, set()))
    while sum(count > assumed for count in at_least.values()) > assumed:
        assumed += 1
    return frozenset(one for one, count in at_least.items() if count > assumed)


def _disjoint(opponents: Mapping[int, Collection[int]], without: Collection[int]) -> int:
    """How many conflicts among the other hospitals have no hospital in common; one after the other, as they come."""
    taken = set(without)
    count = 0
    for one in sorted(opponents):
        free = [other for other in opponents[one] if other not in taken]
        if one not in taken and free:
            taken |= {one, min(free)}
            count += 1
    return count


def _from_statements(
    sheets: Mapping[int, AnswerSheet], dealers: Collection[int], threshold: int, hospitals: int
) -> tuple[set[int], dict[int, WrongDealing], set[Conflict]]:
    """Who made a statement that is a sharing, who one that is none, and which holders contradict the former."""
    statements = {
        dealer: dict(enumerate(sheets[dealer].statement, 1))
        for dealer in dealers
        if dealer in sheets and sheets[dealer].statement
    }
    full = {dealer: numbers for dealer, numbers in statements.items() if len(numbers) == hospitals}
    stated = _polynomials(full, threshold)
    wrong = {dealer: WrongDealing(Fault.NO_POLYNOMIAL) for dealer in statements if dealer not in stated}
    conflicts = {
        (dealer, holder)
        for dealer in stated
        for holder, sheet in sheets.items()
        if sheet.answers.get(dealer) != statements[dealer].get(holder)
    }
    return stated, wrong, conflicts


def _from_others(
    heard: Mapping[int, AnswerSheet], dealers: Iterable[int], threshold: int
) -> tuple[set[Conflict], list[int]]:
    """Of dealers without a statement: the holders that do not fit the others; and the dealers where nobody can say."""
    answers = {dealer: _numbers(heard, dealer) for dealer in dealers}
    agreed = _polynomials(answers, threshold)
    conflicts, undecided = set[Conflict](), []
    for dealer, numbers in answers.items():
        disagreeing: tuple[int, ...] = ()
        if dealer not in agreed:
            try:
                disagreeing = find_disagreeing(numbers, threshold)
            except EncryptionError:
                undecided.append(dealer)
        silent = (holder for holder in heard if holder not in numbers)
        conflicts |= {(dealer, holder) for holder in (*silent, *disagreeing)}
    return conflicts, undecided


def _numbers(sheets: Mapping[int, AnswerSheet], dealer: int) -> dict[int, Answers]:
    """By holder: its answers about a dealer, without complaints."""
    said = {holder: sheet.answers.get(dealer, Complaint.DOES_NOT_OPEN) for holder, sheet in sheets.items()}
    return {holder: numbers for holder, numbers in said.items() if not isinstance(numbers, Complaint)}


def _polynomials(values: Mapping[int, Mapping[int, Answers]], threshold: int) -> set[int]:
    """The dealers whose numbers, by holder, are values of polynomials of degree below the threshold.

    Dealers that the same holders answered about are looked at together: a hundred hospitals take a tenth of a second.
    """
    by_holders: dict[tuple[int, ...], list[int]] = {}
    for dealer, numbers in values.items():
        if len(numbers) >= threshold:
            by_holders.setdefault(tuple(sorted(numbers)), []).append(dealer)
    found = set[int]()
    for holders, dealers in by_holders.items():
        rows = {
            holder: np.array([values[dealer][holder] for dealer in dealers], np.uint64).reshape(-1)
            for holder in holders
        }
        basis, others = holders[:threshold], holders[threshold:]
        fits = np.ones(len(dealers), bool)
        for holder in others:
            expected = combine([rows[each] for each in basis], weights_at(basis, holder))
            fits &= (expected == rows[holder]).reshape(len(dealers), -1).all(axis=1)
        found |= {dealer for dealer, fit in zip(dealers, fits, strict=True) if fit}
    return found
