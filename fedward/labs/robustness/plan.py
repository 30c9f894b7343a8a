"""What the lab of robustness runs: seeds, attacks, how far they may go, and defenses."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from fedward.adversarial.registry import attack_from
from fedward.tables import Scalar

Changes = tuple[tuple[str, Scalar], ...]
NONE = "none"  # the classifier that was trained on images as they are, and that transferred attacks are made against
BEFORE = ("jpeg", "vae", "denoiser")  # defenses that stand before that classifier
# DP-SGD at epsilon 8 for every patient; clip, rate and steps as benchmarks/quality.py has them for the CNN.
PRIVATE: Changes = (
    ("privacy.mode", "sample"),
    ("privacy.target-epsilon", 8.0),
    ("privacy.clip-norm", 0.3),
    ("privacy.sampling-rate", 0.5),
    ("privacy.steps", 4),
    ("privacy.learning-rate", 0.15),
    ("privacy.momentum", 0.9),
    ("encryption.value-range", 1.0),
)
# Classifiers that are trained otherwise, and the settings that they are trained under. One party that has all images
# trains the "central" ones.
TRAINED: dict[str, Changes] = {
    NONE: (),
    "train-fgsm": (("training.adversarial", "fgsm"),),
    "train-pgd": (("training.adversarial", "pgd"),),
    "train-mixed": (("training.adversarial", "mixed"),),
    "central": (),
    "central-pgd": (("training.adversarial", "pgd"),),
    "private": PRIVATE,
    "private-pgd": (*PRIVATE, ("training.adversarial", "pgd")),
}
CENTRAL = "central"
DEFENSES = (NONE, *BEFORE, *(name for name in TRAINED if name != NONE))
BY_STEPS = (
    "fgsm",
    "i-fgsm:iterations=10",
    "mi-fgsm:iterations=10",
    "pgd:iterations=20,step=0.125",
    "auto:iterations=40,squares=100",
)
BY_SCORES = "square:iterations=200"


@dataclass(frozen=True)
class Plan:
    """How much the lab runs.

    Attributes:
        seeds: Each decides initial weights, and whose images go where.
        attacks: As `attack_from` reads them, without `eps`.
        eps: How far each may go, in 255ths of the range of a pixel.
        pixels: An attack that is not bounded by `eps`; run on `few` images.
        defenses: Of `DEFENSES`.
        rounds: Of federated training.
        measured: The most test images, of all hospitals.
        few: The most test images for `pixels`.
        pairs: The most training images that defending networks learn from.
        changes: Settings of the federation.
        step: Of the check of slopes, in 255ths of the range of a pixel: see `kept_of_slope`.
    """

    seeds: tuple[int, ...]
    attacks: tuple[str, ...]
    eps: tuple[float, ...]
    pixels: str
    defenses: tuple[str, ...]
    rounds: int
    measured: int
    few: int
    pairs: int
    changes: Changes
    step: float = 1.0

    def bounded(self) -> Iterator[tuple[str, float]]:
        """Every attack with every bound."""
        return ((attack, eps) for attack in self.attacks for eps in self.eps)


QUICK = Plan(
    seeds=(1,),
    attacks=("fgsm", "pgd:iterations=10,step=0.25", "square:iterations=30"),
    eps=(1.15, 4.0),
    pixels="pixels:generations=5",
    defenses=(NONE, "jpeg", "denoiser", "train-fgsm"),
    rounds=8,
    measured=80,
    few=8,
    pairs=200,
    changes=(("data.image-size", 32),),
)
FULL = Plan(
    seeds=(1, 2, 3),
    attacks=(*BY_STEPS, BY_SCORES),
    eps=(1.0, 1.15, 2.0, 4.0, 8.0),
    pixels="pixels",
    defenses=DEFENSES,
    rounds=30,
    measured=200,
    few=40,
    pairs=800,
    changes=(("training.local-epochs", 1),),
)


@dataclass(frozen=True)
class Unit:
    """One piece of work, whose results are kept by themselves.

    Attributes:
        seed: See `Plan`.
        kind: "train" a classifier, or "attack" a defense.
        what: A name of `TRAINED` or of `DEFENSES`.
    """

    seed: int
    kind: str
    what: str

    @property
    def name(self) -> str:
        """Names the unit's file."""
        return f"{self.seed}-{self.kind}-{self.what}"


def training_units(plan: Plan) -> Iterator[Unit]:
    """Training, of every classifier that is needed."""
    wanted = {NONE, *plan.defenses} & set(TRAINED)
    return (Unit(seed, "train", what) for seed in plan.seeds for what in TRAINED if what in wanted)


def first_units(plan: Plan) -> Iterator[Unit]:
    """Attacks on the undefended classifier: the others are shown what these made."""
    return (Unit(seed, "attack", NONE) for seed in plan.seeds)


def other_units(plan: Plan) -> Iterator[Unit]:
    """Attacks on all defenses, and transfer of those on the undefended classifier."""
    return (Unit(seed, "attack", what) for seed in plan.seeds for what in plan.defenses if what != NONE)


def with_eps(attack: str, eps: float) -> str:
    """An attack with its bound, given in 255ths, as `attack_from` reads it."""
    return f"{attack}{',' if ':' in attack else ':'}eps={eps / 255:.8f}"


def narrowed(
    plan: Plan, seeds: tuple[int, ...], attacks: tuple[str, ...], defenses: tuple[str, ...], changes: Changes
) -> Plan:
    """The plan with what was asked for in place of its own, where anything was; settings are added to its own.

    Raises:
        UsageError: there is no such attack or defense, or options are wrong.
    """
    for attack in attacks:
        attack_from(with_eps(attack, plan.eps[0]))
    return dataclasses.replace(
        plan,
        seeds=seeds or plan.seeds,
        attacks=attacks or plan.attacks,
        defenses=tuple(dict.fromkeys((NONE, *(defenses or plan.defenses)))),
        changes=(*plan.changes, *changes),
    )
