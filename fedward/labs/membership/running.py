"""Runs one unit of the lab: trains the models of a case, or plays a known mechanism, and keeps attackers' scores."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedward.labs import lab_folder
from fedward.labs.hospitals_data import load_hospitals
from fedward.labs.lab_folder import keep, kept_as, many_networks
from fedward.labs.membership.known import CANARIES, outcomes, stated_epsilon
from fedward.labs.membership.likelihood import likelihood_ratios
from fedward.labs.membership.models import Looked, PoolClassifier, memorizing_models, train_models
from fedward.labs.membership.plan import KNOWN, MEMORY, TRAINING, Plan, Unit
from fedward.labs.membership.pool import Bits, Pool, Wide, coins, pool_of
from fedward.learning.weight_shapes import ModelSpec
from fedward.privacy.accounting import epsilon
from fedward.privacy.mechanism import expected_event
from fedward.seeding import public_rng
from fedward.settings import Settings, from_tables
from fedward.tables import Tables

MEMORY_MODEL = "scatter"  # whose features are memorized


@dataclass(frozen=True)
class Scored:
    """What attackers said of targets; shapes (targets, people of one kind), without a row where they said nothing.

    Attributes:
        members: Which patients are in.
        by_scores: The attacker who sees the model's scores alone, on patients.
        by_weights: The one who reads its weights.
        canary_members: Which canaries are in.
        canaries: The stronger attacker that there is, on canaries: by weights, or else by scores.
    """

    members: Bits = field(repr=False)
    by_scores: Wide = field(repr=False)
    by_weights: Wide = field(repr=False)
    canary_members: Bits = field(repr=False)
    canaries: Wide = field(repr=False)


class LabFolder(lab_folder.LabFolder):
    """The lab's folder: partitions of each seed, results, attackers' scores."""

    path: Path

    def scored(self, unit: Unit) -> Path:
        """Where attackers' scores of a unit lie."""
        return self.path / "scores" / f"{unit.name}.npz"


def run_unit(folder: LabFolder, plan: Plan, given: Mapping[str, Tables], unit: Unit) -> dict[str, Any]:
    """Run one unit.

    Args:
        folder: The lab's.
        plan: How much is run.
        given: Tables of settings by the name of their preset, their noise final: what travels to other processes.
        unit: Which.

    Raises:
        DataError: there are too few patients.
    """
    many_networks()
    case, settings = unit.case, from_tables(given[unit.case.preset or MEMORY_MODEL])
    delta = settings.privacy.delta
    if case.kind == KNOWN:
        rng = public_rng("lab known", unit.seed, case.name)
        members = rng.random((1, CANARIES)) < 0.5
        none = np.zeros((0, 0))
        keep(folder.scored(unit), Scored(none > 0, none, none, members, outcomes(case, members, rng)))
        return {"stated": stated_epsilon(case, delta), "delta": delta}
    pool = _pool(folder, plan, unit.seed)
    inside = coins(plan.patients + plan.canaries, plan.shadows, plan.targets, public_rng("lab coins", unit.seed))
    looked = _looked(pool, inside, settings, unit)
    keep(folder.scored(unit), _attacked(pool, looked, inside, plan.shadows))
    events = [expected_event(settings.privacy)] * settings.training.rounds
    return {
        "stated": epsilon(events) if case.kind == TRAINING else None,
        "delta": delta,
        "accuracy": looked.accuracy.mean(0).tolist(),
        "images": len(pool.images),
    }


def load_scored(folder: LabFolder, unit: Unit) -> Scored:
    """What attackers said in a unit."""
    return kept_as(Scored, folder.scored(unit))


def _looked(pool: Pool, inside: Bits, settings: Settings, unit: Unit) -> Looked:
    spec = ModelSpec(settings.model.name, settings.data.image_size, 1)
    classifier = PoolClassifier(spec, unit.seed, pool)
    if unit.case.kind == TRAINING:
        return train_models(pool, inside, settings, unit.case.hospitals, unit.case.noise, classifier)
    others = public_rng("lab other coins", unit.seed).random(inside.shape) < 0.5
    return memorizing_models(pool, inside if unit.case.kind == MEMORY else others, classifier)


def _attacked(pool: Pool, looked: Looked, inside: Bits, shadows: int) -> Scored:
    """Both attackers on patients, and the stronger one on canaries, whose deviations are their own."""
    patients, canaries = slice(None, pool.patients), slice(pool.patients, None)

    def attack(what: Wide | None, people: slice) -> Wide:
        if what is None:
            return np.zeros((0, 0))
        return likelihood_ratios(what[:, people], inside[:, people], shadows)

    best = looked.scores if looked.weights is None else looked.weights
    return Scored(
        inside[shadows:, patients],
        attack(looked.scores, patients),
        attack(looked.weights, patients),
        inside[shadows:, canaries],
        attack(best, canaries),
    )


@functools.lru_cache(maxsize=1)
def _pool(folder: LabFolder, plan: Plan, seed: int) -> Pool:
    partitions = load_hospitals(folder.data(seed))
    return pool_of(partitions, plan.patients, plan.canaries, public_rng("lab pool", seed))
