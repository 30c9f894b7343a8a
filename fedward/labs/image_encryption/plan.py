"""What the lab runs: seeds, methods, readers, attackers, and how many images of each."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from fedward.adversarial.registry import attack_from
from fedward.tables import Scalar

Changes = tuple[tuple[str, Scalar], ...]
MODELS = "models"  # the unit that trains all classifiers of a seed

# As `attack_from` reads them. The readers are compared on images of the first.
BOUNDED = (
    "fgsm:eps=0.02",
    "fgsm:eps=0.05",
    "fgsm:eps=0.015",
    "i-fgsm",
    "pgd",
    "mi-fgsm",
    "square:eps=0.05,iterations=100",
)
BY_DECISIONS = "hop-skip-jump"


@dataclass(frozen=True)
class Plan:
    """How much the lab runs.

    Attributes:
        seeds: Each decides initial weights, and whose images go where.
        methods: Attacks, as `attack_from` reads them.
        rounds: Of federated training before images are encrypted.
        pairs: The most images of the protecting hospital that its reader learns from.
        measured: The most test images, of all hospitals.
        known: How many pairs an attacker knows.
        elsewhere: Architectures that are trained elsewhere to measure transfer, beside the federation's own.
        epochs: Of training models elsewhere.
        slow_share: Part of the images that methods take which know decisions alone.
        reader_epochs: Of training readers; 0: as many as the method's plan has.
        changes: Settings of the federation.
    """

    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    rounds: int
    pairs: int
    measured: int
    known: tuple[int, ...]
    elsewhere: tuple[str, ...]
    epochs: int
    slow_share: float
    reader_epochs: int
    changes: Changes


QUICK = Plan(
    seeds=(1,),
    methods=("fgsm:eps=0.02", "fgsm:eps=0.05", "i-fgsm"),
    rounds=6,
    pairs=240,
    measured=120,
    known=(10, 100),
    elsewhere=("scatter",),
    epochs=6,
    slow_share=0.1,
    reader_epochs=0,
    changes=(("data.image-size", 32),),
)
FULL = Plan(
    seeds=(1, 2, 3),
    methods=(*BOUNDED, BY_DECISIONS),
    rounds=30,
    pairs=600,
    measured=400,
    known=(10, 50, 200, 600),
    elsewhere=("scatter", "densenet121"),
    epochs=12,
    slow_share=0.1,
    reader_epochs=0,
    changes=(("training.local-epochs", 1),),
)


@dataclass(frozen=True)
class Unit:
    """One piece of work, whose results are kept by themselves.

    Attributes:
        seed: See `Plan`.
        part: `MODELS`, or a method with its options.
    """

    seed: int
    part: str

    @property
    def name(self) -> str:
        """Names the unit's file."""
        return f"{self.seed}-" + self.part.replace(":", "-").replace("=", "-").replace(",", "-")


def model_units(plan: Plan) -> Iterator[Unit]:
    """Training, once a seed."""
    return (Unit(seed, MODELS) for seed in plan.seeds)


def method_units(plan: Plan) -> Iterator[Unit]:
    """Every method on every seed."""
    return (Unit(seed, method) for seed in plan.seeds for method in plan.methods)


def narrowed(plan: Plan, seeds: tuple[int, ...], methods: tuple[str, ...], changes: Changes) -> Plan:
    """The plan with what was asked for in place of its own, where anything was; settings are added to its own.

    Raises:
        UsageError: there is no such method, or its options are wrong.
    """
    for method in methods:
        attack_from(method)
    return dataclasses.replace(
        plan, seeds=seeds or plan.seeds, methods=methods or plan.methods, changes=(*plan.changes, *changes)
    )
