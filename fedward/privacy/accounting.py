"""Privacy accounting: epsilon of recorded releases, noise for a target epsilon, and a hospital's privacy record.

One function, `epsilon`, answers hospitals, reports and auditors alike. The sums are done in
`fedward.privacy.accountants`, which is imported where there is something to add up: its libraries take a second.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import astuple, dataclass
from pathlib import Path

from fedward import settings as setting
from fedward.checked_json import checked_lines, to_json
from fedward.errors import BudgetError, EvidenceError, VerificationError
from fedward.files import append_line, read_lines
from fedward.privacy.study_files import STUDY_PLACE, Charge
from fedward.privacy.study_record import Study, own_study
from fedward.settings import PrivacySettings, Settings
from fedward.types import PrivacyEvent


def epsilon(events: Sequence[PrivacyEvent]) -> float | None:
    """The epsilon of releases composed, at the largest delta that they declare; None when none is private.

    Neighboring inputs: a unit's data, or none in its place; how many units there are is public. For mode `update`
    the unit is the hospital. To tell one data set of a unit from another, halve the noise multiplier.

    Guarantees:
        1. Equal to the smaller of what dp-accounting's Renyi and privacy loss accountants give for the same events.
        2. The same events give the same number, in whatever order.
    """
    private = Counter(event for event in events if event.mode != "none")
    if not private:
        return None
    delta = max(event.delta for event in private)
    kinds = tuple(sorted(private.items(), key=lambda item: astuple(item[0])))
    from fedward.privacy.accountants import composed

    return composed(kinds, delta)


def calibrated(settings: Settings) -> Settings:
    """Settings whose noise multiplier follows from `privacy.target-epsilon` and the number of rounds.

    Called once, when a run's settings are made final: so everybody sees the number, and the digest covers it.
    Rounds that end as aborted are charged as well; where one does, the last round does not fit the budget.

    Raises:
        UsageError: no noise that the settings allow is enough.

    Guarantees:
        1. All rounds together cost at most the target.
        2. 1 part in 100 less noise would exceed the target, unless the noise multiplier is 0.25. That is the smallest
           ever given: where it meets the target with ease, the rounds cost less than the target allows.
    """
    privacy = settings.privacy
    if privacy.mode == "none" or privacy.target_epsilon == 0:
        return settings
    from fedward.privacy.accountants import least_noise

    multiplier = least_noise(privacy, settings.training.rounds)
    return setting.replace(settings, "privacy.noise-multiplier", multiplier)


def budget_of(privacy: PrivacySettings) -> float:
    """The epsilon that a hospital never exceeds in one run: `privacy.budget`, else the target, else infinity."""
    return privacy.budget or privacy.target_epsilon or math.inf


@dataclass(frozen=True)
class Release:
    """A line of a privacy record: in which round, and what was released."""

    round: int
    event: PrivacyEvent


class PrivacyLedger:
    """A hospital's privacy record of what it has spent, written to its disk before anything leaves.

    The record errs on the side of spending: a hospital that stops after it is charged and before it keeps its
    submission trains anew and is charged anew, though nothing of the first attempt has left.

    Args:
        path: One line of JSON a release. A file beside it, `study-place.json`, says where the hospital's record of
            studies lies, which is of all runs on its patients: whatever is charged here is charged there first. Without
            that file the hospital keeps no such record.

    Guarantees:
        1. What was charged stays charged; a damaged record is refused, its content never guessed.
        2. A copy that lacks a release which is on the ledger is refused, and so is a lost record.
        3. Where the hospital keeps a record of studies, both hold of that one too.

    Limits:
        A copy that lacks only releases that never came to the ledger passes for the record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def spent(self) -> list[PrivacyEvent]:
        """All releases so far.

        Raises:
            BudgetError: the record is damaged, so what was spent is unknown.
        """
        return [event for _, event in self._releases()]

    def _study(self) -> Study | None:
        """This run in the hospital's record of studies; raises BudgetError where that is damaged or gone."""
        return own_study(self._path.with_name(STUDY_PLACE))

    def _releases(self) -> list[tuple[int, PrivacyEvent]]:
        """Round and event of each release; raises BudgetError where the record is damaged."""
        remedy = "Restore it; what it says was spent cannot be guessed."
        try:
            lines = [line.encode() for line in read_lines(self._path)]
        except (EvidenceError, VerificationError) as error:
            raise BudgetError(f"The privacy record is not known: {error.what}", remedy) from error
        found = checked_lines(Release, lines, f"the privacy record {self._path}", BudgetError, remedy)
        return [(release.round, release.event) for release in found]

    def check_whole(self, released: Set[int]) -> None:
        """Refuse to go on if this record is an older copy, or is lost: releases that it lacks would count as unspent.

        The record may have more releases than the ledger: a round is charged before its commitment is made, and even
        where none is made.

        Args:
            released: The rounds in which the ledger has a private release of this hospital.

        Raises:
            BudgetError: one of them is missing, or the record is damaged.
        """
        named = {round_index for round_index, event in self._releases() if event.mode != "none"}
        if missing := released - named:
            raise BudgetError(
                f"The privacy record {self._path} is older than the ledger, which has an update of this hospital in "
                f"round {min(missing)}.",
                "Restore the newest copy; what was spent since cannot be guessed.",
            )
        if study := self._study():
            study.check_whole(released)

    def check(self, event: PrivacyEvent, budget: float) -> None:
        """Refuse a release that would exceed the budget; called before training, so that a refusal costs nothing.

        Args:
            event: What the release would cost.
            budget: The largest epsilon to spend; infinity for no bound.

        Raises:
            BudgetError: the release would exceed the budget, or with all studies of the hospital its own limit; or a
                record is damaged.
        """
        spent = self.spent()
        if study := self._study():
            study.check()
        if event.mode == "none" or math.isinf(budget):
            return
        total = epsilon([*spent, event]) or 0.0
        if total > budget:
            raise BudgetError(
                f"This round would bring epsilon per {event.unit} from {epsilon(spent) or 0.0:.4g} to {total:.4g} at "
                f"delta {event.delta:g}, beyond the budget of {budget:g}.",
                "This hospital takes no further part; the others may go on. The bound is privacy.budget.",
            )

    def charge(self, round_index: int, event: PrivacyEvent, ledger_head: bytes = b"") -> None:
        """Record a release, flushed to the disk, before it happens; it stays spent whatever becomes of the round.

        Args:
            round_index: In which round.
            event: What the release costs.
            ledger_head: 32 bytes; where the ledger stood when the round was opened. In the record of studies, the same
                round from the same head is one release, however often it is charged: at most one of them has left.

        Raises:
            BudgetError: with all studies of the hospital it would exceed the hospital's own limit.
            ResourceError: the disk is full.
        """
        if study := self._study():
            study.charge(event, Charge(round_index, ledger_head))
        append_line(self._path, json.dumps(to_json(Release(round_index, event))))
