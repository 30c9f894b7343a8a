"""One trial: clean rounds, or rounds under one attack, with and without detectors; what came out, round by round.

The harness measures success. An attack only proposes an update, and detectors only say whether they object.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fedward.backdoor.attacks.attack import Attack, Part
from fedward.backdoor.attacks.registry import attack_from
from fedward.backdoor.detectors import Detector
from fedward.backdoor.history import Wide
from fedward.backdoor.preparing import Scorer
from fedward.backdoor.stamps import Stamp
from fedward.figures.histograms import called_positive, histogram, sigmoid
from fedward.labs.backdoor.inquiry import Inquiry, NewInquiry
from fedward.labs.backdoor.triggers import Triggers, search_triggers
from fedward.labs.federation import Judgment, PlainFederation, Proposal, Standing, reject_quorum
from fedward.learning.model import Classifier
from fedward.types import ImageSet, Vector

ALL = "all"  # in place of a detector's name: whatever detector objects that rejects
NULL = "none"  # the null attack: a clean round
_COLLUDING = {"distributed-trigger": 2}  # attackers; of all others one


@dataclass(frozen=True)
class RoundResult:
    """What came out of one round.

    Attributes:
        round_index: The round, from 1.
        poisoned: Whether an attacker's update was in it.
        judged: Whether detectors looked.
        objections: Of each detector, how many honest hospitals objected by it; under `ALL` by any that rejects.
        rejected: Whether the candidate was rejected.
        named: Whom the inquiry has named and suspended so far, by index; attackers come first among the hospitals.
        success: Of test images with the finding that the model in force after this round recognizes, the share that it
            misses once they are stamped; None without a trigger, or where it recognizes none.
        accuracy: Of the model in force after this round, on the test images at the threshold from validation images.
        seconds: Of each detector, on average over hospitals.
    """

    round_index: int
    poisoned: bool
    judged: bool
    objections: Mapping[str, int]
    rejected: bool
    named: tuple[int, ...]
    success: float | None
    accuracy: float
    seconds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Trial:
    """Runs rounds from a standing.

    Args:
        federation: The hospitals.
        classifier: The federation's.
        detectors: Those that look where there is a defense, and reject.
        watching: Those that only look, beside them.
        new_inquiry: Says who is left out of rounds, once one was rejected.
    """

    def __init__(
        self,
        federation: PlainFederation,
        classifier: Classifier,
        detectors: Sequence[Detector],
        watching: Sequence[Detector],
        new_inquiry: NewInquiry,
    ) -> None:
        self._federation, self._classifier = federation, classifier
        self._detectors, self._deciding = (*detectors, *watching), [detector.name for detector in detectors]
        self._new_inquiry = new_inquiry
        parts = federation.partitions
        self._test = ImageSet.joined([partition.test for partition in parts])

    def run(
        self, standing: Standing, attack: str, rounds: int, defended: bool
    ) -> tuple[list[RoundResult], list[Standing]]:
        """Run rounds one after the other, each from what came of the one before.

        Args:
            standing: Where to start.
            attack: `NULL`, or an attack with options, as `attack_from` reads it.
            rounds: How many.
            defended: Whether detectors look, candidates are rejected, and whoever ruins rounds is looked for. Attackers
                never object.

        Returns:
            Results and standings, one a round.
        """
        attacks = self._attacks(attack)
        trigger = next((each.trigger(self._size) for each in attacks.values()), None)
        quorum = reject_quorum(self._federation.settings, len(self._federation.partitions))
        inquiry = self._new_inquiry(self._federation.settings)
        results, standings = [], []
        for _ in range(rounds):
            updates, committed, drawn = self._updates(standing, attacks, inquiry)
            proposal = self._federation.combine(standing, updates, drawn)
            included = updates.keys() - {drawn}
            judged, seconds = self._judge(standing, proposal) if defended else ((), {})
            objections = self._objections(judged, set(attacks)) if defended else {}
            rejected = bool(judged) and objections[ALL] >= quorum
            inquiry.ended(proposal.round_index, not rejected, included, committed)
            if rejected:
                standing = self._federation.reject(standing)
            else:
                standing = self._federation.accept(standing, proposal, judged)
            results.append(
                RoundResult(
                    proposal.round_index,
                    not attacks.keys().isdisjoint(included),
                    bool(judged),
                    objections,
                    rejected,
                    inquiry.named,
                    *self._scores(standing.model.weights, trigger),
                    seconds,
                )
            )
            standings.append(standing)
        return results, standings

    def _updates(
        self, standing: Standing, attacks: Mapping[int, Attack], inquiry: Inquiry
    ) -> tuple[dict[int, Wide], dict[int, bytes], int | None]:
        """The updates of all who train in the next round, what they commit to, and who is left out by lot."""
        index = standing.rounds + 1
        places = sorted(set(range(len(self._federation.partitions))) - inquiry.suspended(index))
        updates = self._federation.updates(standing, attacks, places)
        committed = {place: hashlib.sha256(delta.tobytes()).digest() for place, delta in updates.items()}
        return updates, committed, inquiry.drawn(index, committed)

    def triggers(self, attack: str, before: Standing, then: Standing) -> Triggers | None:
        """What a search finds at the last hospital, which is honest; None without a trigger, or with too few images."""
        planted = next((each.trigger(self._size) for each in self._attacks(attack).values()), None)
        if planted is None:
            return None
        poisoned, clean = (Scorer(lambda: self._classifier, each.model.weights) for each in (then, before))
        return search_triggers(planted, poisoned, clean, self._federation.partitions[-1], self._federation.secrets[-1])

    def start(self) -> Standing:
        """The standing before the first round."""
        return self._federation.start()

    @property
    def _size(self) -> int:
        return self._federation.settings.data.image_size

    def _attacks(self, attack: str) -> dict[int, Attack]:
        """The first hospitals attack, as many as the attack takes."""
        if attack == NULL:
            return {}
        count = attackers_of(attack)
        shares = self._federation.shares
        return {place: attack_from(attack, Part(place, count, float(shares[place]))) for place in range(count)}

    def _judge(self, standing: Standing, proposal: Proposal) -> tuple[tuple[Judgment, ...], dict[str, float]]:
        """Each detector by itself, so that its seconds are known; reports and measures joined."""
        seconds, found = {}, []
        for detector in self._detectors:
            started = time.perf_counter()
            found.append(self._federation.judge(standing, proposal, [detector]))
            seconds[detector.name] = (time.perf_counter() - started) / len(self._federation.partitions)
        joined = tuple(_both(of_one) for of_one in zip(*found, strict=True))
        return joined, seconds

    def _objections(self, judged: Sequence[Judgment], attackers: set[int]) -> dict[str, int]:
        honest = [judgment for place, judgment in enumerate(judged) if place not in attackers]
        names = [detector.name for detector in self._detectors]
        counts = {name: sum(judgment.objects([name]) for judgment in honest) for name in names}
        return counts | {ALL: sum(judgment.objects(self._deciding) for judgment in honest)}

    def _scores(self, weights: Vector, trigger: Stamp | None) -> tuple[float | None, float]:
        """Success and accuracy of a model."""
        self._classifier.set_weights(weights)
        parts = self._federation.partitions
        logits = [self._classifier.logits(partition.val.pixels()) for partition in parts]
        counts = [histogram(each, partition.val.labels) for each, partition in zip(logits, parts, strict=True)]
        thresholds = sum(counts[1:], start=counts[0]).thresholds()
        test = self._test
        called = called_positive(sigmoid(self._classifier.logits(test.pixels())), thresholds)
        accuracy = float((called == (test.labels > 0)).mean())
        recognized = (called & (test.labels > 0))[:, 0]
        if trigger is None or not recognized.any():
            return None, accuracy
        still = called_positive(sigmoid(self._classifier.logits(trigger.on(test.pixels()[recognized]))), thresholds)
        return float(1 - still.mean()), accuracy


def attackers_of(attack: str) -> int:
    """How many hospitals an attack takes: the first ones."""
    return 0 if attack == NULL else _COLLUDING.get(attack.partition(":")[0], 1)


def _both(judgments: Sequence[Judgment]) -> Judgment:
    """What several detectors of one hospital found and measured, as one."""
    reports = tuple(report for judgment in judgments for report in judgment.reports)
    measures = {name: values for judgment in judgments for name, values in judgment.measures.items()}
    return Judgment(reports, measures)
