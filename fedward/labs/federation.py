"""Rounds without ledger and encryption, for labs that need hundreds: same training, detectors and count of votes.

What is left out changes no figure but for rounding: `tests/integration/test_backdoors.py` compares a round with one
that went through encryption and ledger.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedward.backdoor.attacks.attack import Attack
from fedward.backdoor.detectors import Detector, detect
from fedward.backdoor.history import History, Wide
from fedward.backdoor.inspection import Inspection, UpdateSizes
from fedward.backdoor.preparing import Scorer
from fedward.folders.measure_book import KEPT, MeasuredModel
from fedward.learning.model import Classifier
from fedward.learning.server_step import server_optimizer, take_step
from fedward.local_update import local_update
from fedward.privacy.mechanism import privatize
from fedward.seeding import public_rng
from fedward.settings import Settings
from fedward.types import DetectorReport, GlobalModel, Partition, Vector


@dataclass(frozen=True)
class Standing:
    """Where a federation stands after a round: its model, and what each hospital measured of accepted ones.

    Attributes:
        rounds: How many rounds there were, accepted or not.
        model: The model in force.
        measured: Of each hospital, what it measured of accepted models, oldest first.
    """

    rounds: int
    model: GlobalModel
    measured: tuple[tuple[MeasuredModel, ...], ...] = field(repr=False)


@dataclass(frozen=True)
class Proposal:
    """A round's candidate.

    Attributes:
        round_index: The round, from 1.
        model: The candidate.
        sizes: The mean update behind it beside each hospital's own, by its index, also of one that was left out.
    """

    round_index: int
    model: GlobalModel
    sizes: Mapping[int, UpdateSizes]


@dataclass(frozen=True)
class Judgment:
    """What one hospital's detectors found, and measured."""

    reports: tuple[DetectorReport, ...]
    measures: Mapping[str, Wide] = field(repr=False)

    def objects(self, detectors: Sequence[str]) -> bool:
        """Whether one of the named detectors finds the candidate suspicious."""
        return any(report.suspicious for report in self.reports if report.detector in detectors)


def reject_quorum(settings: Settings, hospitals: int) -> int:
    """How many hospitals that object reject a candidate, as `ledger.reject-quorum` says; 0: more than half."""
    return settings.ledger.reject_quorum or hospitals // 2 + 1


class PlainFederation:
    """Hospitals in one process, whose updates are averaged as they are.

    Args:
        partitions: The hospitals' images.
        classifier: Any classifier of the right shape.
        settings: The consortium's.
    """

    def __init__(self, partitions: Sequence[Partition], classifier: Classifier, settings: Settings) -> None:
        self.partitions = tuple(partitions)
        self.settings = settings
        self._classifier = classifier
        self._initial = classifier.get_weights()
        weights = np.array([len(partition.train) for partition in partitions], np.float64)
        self.shares = weights / weights.sum()
        seeds = [public_rng("lab secret", settings.training.seed, index) for index in range(len(partitions))]
        self.secrets = [rng.bytes(32) for rng in seeds]

    def start(self) -> Standing:
        """The standing before the first round."""
        return Standing(0, GlobalModel(self._initial, b""), tuple(() for _ in self.partitions))

    def propose(self, standing: Standing, attacks: Mapping[int, Attack]) -> Proposal:
        """Train at every hospital and average: the candidate of the next round, see `updates` and `combine`."""
        return self.combine(standing, self.updates(standing, attacks, range(len(self.partitions))))

    def updates(self, standing: Standing, attacks: Mapping[int, Attack], places: Iterable[int]) -> dict[int, Wide]:
        """Train at hospitals: their updates in the next round, by their index.

        Honest hospitals pass the privacy stage, attackers leave it out; all updates are cut to the range that
        encryption carries.

        Args:
            standing: Where the round starts.
            attacks: What hospitals do in place of honest training, by their index.
            places: Which hospitals train, by their index.

        Returns:
            float64, shape (parameters,) each.
        """
        bound = self.settings.encryption.value_range
        trained = {place: self._update(place, standing, attacks.get(place)) for place in places}
        return {place: np.clip(delta.astype(np.float64), -bound, bound) for place, delta in trained.items()}

    def combine(self, standing: Standing, updates: Mapping[int, Wide], left_out: int | None = None) -> Proposal:
        """Average updates, weighted by how many training images each hospital has.

        Args:
            standing: Where the round started.
            updates: Of all who trained, by their index.
            left_out: Whose update is not in the mean; None: all are.
        """
        mean, places = np.zeros(standing.model.weights.shape), [place for place in updates if place != left_out]
        for place in places:
            mean += self.shares[place] * updates[place]
        if len(places) < len(self.partitions):
            mean /= sum(float(self.shares[place]) for place in places)
        moved, moments = take_step(standing.model, mean, server_optimizer(self.settings.server_optimizer))
        norm, concentrated = float(np.linalg.norm(mean)), float((self.shares[places] ** 2).sum())
        concentrated /= float(self.shares[places].sum()) ** 2
        sizes = {
            place: UpdateSizes(
                norm,
                float(np.linalg.norm(delta)),
                concentrated,
                math.nan if place == left_out else float(mean @ delta),
            )
            for place, delta in updates.items()
        }
        return Proposal(standing.rounds + 1, GlobalModel(moved, b"", moments), sizes)

    def judge(self, standing: Standing, proposal: Proposal, detectors: Sequence[Detector]) -> tuple[Judgment, ...]:
        """Let every hospital's detectors look at a candidate."""
        found = []
        for place, measured in enumerate(standing.measured):
            inspection = self._inspection(place, measured, standing, proposal)
            found.append(Judgment(detect(inspection, detectors), inspection.history.candidate))
        return tuple(found)

    def _inspection(
        self, place: int, measured: Sequence[MeasuredModel], standing: Standing, proposal: Proposal
    ) -> Inspection:
        partition = self.partitions[place]
        return Inspection(
            proposal.round_index,
            validation=partition.val,
            load_training=lambda: partition.train,
            current=Scorer(lambda: self._classifier, standing.model.weights),
            candidate=Scorer(lambda: self._classifier, proposal.model.weights),
            history=History(self.secrets[place], measured, bool(measured)),
            updates=proposal.sizes.get(place, UpdateSizes()),
        )

    def accept(self, standing: Standing, proposal: Proposal, judged: Sequence[Judgment]) -> Standing:
        """The standing after a round whose candidate came into force; where nobody judged it, nothing was measured."""
        measured = standing.measured
        if judged:
            new = [MeasuredModel(proposal.round_index, b"", each.measures) for each in judged]
            measured = tuple((*old, each)[-KEPT:] for old, each in zip(measured, new, strict=True))
        return Standing(proposal.round_index, proposal.model, measured)

    def reject(self, standing: Standing) -> Standing:
        """The standing after a round whose candidate did not come into force."""
        return dataclasses.replace(standing, rounds=standing.rounds + 1)

    def _update(self, place: int, standing: Standing, attack: Attack | None) -> Vector:
        """A hospital's update in the next round."""
        index, partition = standing.rounds + 1, self.partitions[place]
        work = standing.model, self._classifier, self.settings, index
        if attack:
            return attack(local_update)(partition, *work).delta
        return privatize(local_update(partition, *work), self.settings.privacy).delta
