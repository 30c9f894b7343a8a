"""What the lab runs: seeds, cases (a training or a known mechanism), how many models, patients and canaries."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from fedward.labs.narrowing import Changes

TRAINING, MEMORY, OTHERS, KNOWN = "training", "memory", "others", "known"  # kinds of cases


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: Its name.
        kind: `TRAINING`: the project's own; `MEMORY`: a model that memorizes; `OTHERS`: the same, trained on other
            coins; `KNOWN`: a mechanism whose epsilon is known, which trains nothing.
        preset: File of `config/` with the settings of a training.
        hospitals: How many share the patients.
        noise: What part of the stated noise is really added: below 1 is a planted mistake.
    """

    name: str
    kind: str = TRAINING
    preset: str = ""
    hospitals: int = 1
    noise: float = 1.0


MEMORIZED = Case("memorized", MEMORY)  # tells by construction: the lab must find it
NULL = Case("trained on others", OTHERS)  # tells nothing: the lab must find nothing
RESPONSE = Case("randomized response", KNOWN)
GAUSSIAN = Case("gaussian", KNOWN)
WEAK = Case("gaussian, a tenth of its noise", KNOWN, noise=0.1)  # breaks its word: the lab must find that
CONTROLS = (MEMORIZED, NULL, RESPONSE, GAUSSIAN, WEAK)


@dataclass(frozen=True)
class Plan:
    """How much the lab runs.

    Attributes:
        seeds: Each decides patients, coins and first weights.
        cases: The rows, beside the controls.
        patients: That may be trained on; about half of them are, in each model.
        canaries: Drawn images, each in or out by a coin.
        shadows: Models that the attacker trains himself.
        targets: Models that are attacked.
        changes: Settings of the images.
    """

    seeds: tuple[int, ...]
    cases: tuple[Case, ...]
    patients: int
    canaries: int
    shadows: int
    targets: int
    changes: Changes

    @property
    def models(self) -> int:
        """How many are trained in all."""
        return self.shadows + self.targets


PLAIN = Case("scatter", preset="scatter")
EPSILON_8 = Case("privacy-eps8", preset="privacy-eps8")
EPSILON_3 = Case("privacy-eps3", preset="privacy-eps3")
EPSILON_1 = Case("privacy-eps1", preset="privacy-eps1")
MISTAKEN = Case("privacy-eps1, a tenth of its noise", preset="privacy-eps1", noise=0.1)

QUICK = Plan(
    seeds=(1,),
    cases=(PLAIN, EPSILON_8, EPSILON_1),
    patients=80,
    canaries=32,
    shadows=12,
    targets=12,
    changes=(("data.synthetic-images", 600),),
)

FULL = dataclasses.replace(
    QUICK,
    seeds=(1, 2, 3),
    cases=(
        PLAIN,
        Case("scatter, five hospitals", preset="scatter", hospitals=5),
        EPSILON_8,
        EPSILON_3,
        EPSILON_1,
        MISTAKEN,
    ),
    patients=120,
    canaries=48,
    shadows=12,
    targets=20,
)


@dataclass(frozen=True)
class Unit:
    """One piece of work, whose results are kept by themselves: a case on a seed."""

    seed: int
    case: Case

    @property
    def name(self) -> str:
        """Names the unit's file."""
        return f"{self.seed}-{self.case.name.replace(', ', '-').replace(' ', '-')}"


def all_cases(plan: Plan) -> tuple[Case, ...]:
    """The controls and the plan's cases."""
    return (*CONTROLS, *plan.cases)


def all_units(plan: Plan) -> Iterator[Unit]:
    """Every case on every seed."""
    return (Unit(seed, case) for seed in plan.seeds for case in all_cases(plan))
