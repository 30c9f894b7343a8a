"""What the lab runs: seeds, cases (a model, a batch, local steps, an obfuscation), and how hard attackers try."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from fedward.labs.leakage.networks import CNN, LENET, LENET_CLASSES, LENET_SIGMOID, ROWS
from fedward.labs.leakage.obfuscations import NOISE_ONLY, PLAIN
from fedward.labs.narrowing import Changes

NEW, TRAINED = "new", "trained"
GREY, NEAR_MEAN = "grey", "near the mean"
PRESETS = ("privacy-eps8", "privacy-eps3", "privacy-eps1", "update-privacy")  # files of config/
HIDING = (
    "qsgd-16",
    "qsgd-4",
    "top-10%",
    "top-1%",
    "uniform-16",
    "sign",
    "noise-0.1",
    "noise-1",
    "clip-noise",
    *PRESETS,
    "sum-2",
    "sum-5",
    "ckks",
    "ckks-opened-5",
)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        obfuscation: By name.
        model: Of `NETWORKS`.
        start: `NEW` weights, or `TRAINED` ones.
        batch: Images that a hospital trains on.
        local_steps: Of training; 1 is FedSGD.
    """

    obfuscation: str
    model: str = LENET
    start: str = NEW
    batch: int = 1
    local_steps: int = 1

    @property
    def name(self) -> str:
        """The obfuscation's name, with what differs from a new LeNet, one image and one step before it."""
        if self == Case(self.obfuscation):
            return self.obfuscation
        return f"{self.model}-{self.start}-batch-{self.batch}-steps-{self.local_steps}-{self.obfuscation}"


PLANTED = Case(PLAIN, ROWS)  # leaks by construction: the lab must find it
NULLS = (Case(NOISE_ONLY), Case(NOISE_ONLY, batch=2))  # say nothing: the lab must find nothing


@dataclass(frozen=True)
class Plan:
    """How much the lab runs.

    Attributes:
        seeds: Each decides weights, whose images are attacked, and all draws.
        cases: The rows, beside the controls.
        victims: Batches that are attacked, a case and seed.
        attempts: A victim, from each start; they take the matchings in turn.
        starts: Where attempts start: in the middle of the range, and near the mean of other patients' X-rays.
        steps: Of one attempt on one image; see `steps_for`.
        candidates: X-rays of one label among which an image of the batch is looked for.
        training_steps: Of models that are trained.
        local_rate: Learning rate of local training.
        pairs: X-rays of other patients that the denoiser learns from; 0: no denoiser.
        changes: Settings of the images.
    """

    seeds: tuple[int, ...]
    cases: tuple[Case, ...]
    victims: int
    attempts: int
    starts: tuple[str, ...]
    steps: int
    candidates: int
    training_steps: int
    local_rate: float
    pairs: int
    changes: Changes

    def steps_for(self, case: Case, images: int) -> int:
        """Steps of one attempt on so many images: more where the search takes longer, for several and for the CNN."""
        several = 3 if images > 1 else 1
        return self.steps * (8 if case.model == CNN else several)


QUICK = Plan(
    seeds=(1,),
    cases=(
        Case(PLAIN),
        *(Case(name) for name in ("qsgd-16", "top-10%", "noise-1", "clip-noise", "privacy-eps8", "sum-5", "ckks")),
        Case(PLAIN, batch=2, local_steps=2),
    ),
    victims=7,
    attempts=3,
    starts=(GREY, NEAR_MEAN),
    steps=100,
    candidates=50,
    training_steps=100,
    local_rate=0.01,
    pairs=0,
    changes=(("data.synthetic-images", 900),),
)

FULL = dataclasses.replace(
    QUICK,
    seeds=(1, 2, 3),
    cases=(
        Case(PLAIN),
        *(Case(name) for name in HIDING),
        Case(PLAIN, LENET_SIGMOID),
        Case("noise-0.1", LENET_SIGMOID),
        Case(PLAIN, LENET, TRAINED),
        Case(PLAIN, CNN),
        Case(PLAIN, CNN, TRAINED),
        Case(PLAIN, batch=4),
        Case(PLAIN, batch=16),
        Case(PLAIN, local_steps=5),
        Case(PLAIN, batch=4, local_steps=5),
        Case("ckks-opened-5", batch=4),
        Case(PLAIN, LENET_CLASSES, batch=4),
        Case(PLAIN, LENET_CLASSES, batch=4, local_steps=5),
        Case(PLAIN, LENET_CLASSES, batch=16),
        Case("qsgd-16", LENET_CLASSES, batch=16),
        Case("privacy-eps8", LENET_CLASSES, batch=4),
    ),
    victims=3,
    attempts=4,
    candidates=100,
    training_steps=400,
    pairs=300,
)


@dataclass(frozen=True)
class Unit:
    """One piece of work, whose results are kept by themselves.

    Attributes:
        seed: See `Plan`.
        case: What is attacked; None: training of the denoiser.
        cleaned: Whether what was found is passed through the denoiser, and nothing is attacked.
    """

    seed: int
    case: Case | None = None
    cleaned: bool = False

    @property
    def name(self) -> str:
        """Names the unit's file."""
        if self.case is None:
            return f"{self.seed}-denoiser"
        return f"{self.seed}-{self.case.name.replace('%', '-percent')}{'-cleaned' if self.cleaned else ''}"


def denoiser_units(plan: Plan) -> Iterator[Unit]:
    """Training of a denoiser, once a seed; none where the plan has none."""
    return (Unit(seed) for seed in plan.seeds if plan.pairs)


def cleaning_units(plan: Plan) -> Iterator[Unit]:
    """What was found of every case, cleaned; none where the plan has no denoiser."""
    return (Unit(seed, case, cleaned=True) for seed in plan.seeds for case in all_cases(plan) if plan.pairs)


def all_cases(plan: Plan) -> tuple[Case, ...]:
    """The plan's cases and the controls."""
    return (PLANTED, *NULLS, *plan.cases)


def case_units(plan: Plan) -> Iterator[Unit]:
    """Every case on every seed."""
    return (Unit(seed, case) for seed in plan.seeds for case in all_cases(plan))
