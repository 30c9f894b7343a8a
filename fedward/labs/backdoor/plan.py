"""What the lab runs: seeds, rounds, attacks, and the conditions under which false alarms are counted."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fedward.labs.backdoor.trial import NULL
from fedward.tables import Scalar

IID = "iid"
Changes = tuple[tuple[str, Scalar], ...]

# By name: a preset in config/ or none, and settings beside it.
CONDITIONS: Mapping[str, tuple[str, Changes]] = MappingProxyType(
    {
        IID: ("", ()),
        "dirichlet": ("", (("data.partition", "dirichlet"), ("data.alpha", 0.5))),
        "momentum": ("", (("server-optimizer.name", "momentum"), ("server-optimizer.momentum.learning-rate", 0.2))),
        "privacy": ("privacy-eps3.toml", ()),
    }
)


@dataclass(frozen=True)
class Plan:
    """How much the lab runs.

    Attributes:
        seeds: Each decides initial weights, and whose images go where.
        conditions: Names in `CONDITIONS`; attacks run under the first alone, clean rounds under all.
        attacks: As `attack_from` reads them, or `NULL`.
        warm_up: Clean rounds before an attack begins.
        clean_rounds: Clean rounds in all, from the first.
        attack_rounds: Rounds under attack without detectors.
        defended_rounds: With them: enough to find and suspend the attacker, and to see the model recover.
        watching: Detectors that look beside those of the settings, and reject nothing.
        changes: Settings of every trial.
    """

    seeds: tuple[int, ...]
    conditions: tuple[str, ...]
    attacks: tuple[str, ...]
    warm_up: int
    clean_rounds: int
    attack_rounds: int
    defended_rounds: int
    watching: tuple[str, ...]
    changes: Changes


QUICK = Plan(
    seeds=(1,),
    conditions=(IID,),
    attacks=(NULL, "badnets", "label-flip", "norm-bounded"),
    warm_up=8,
    clean_rounds=12,
    attack_rounds=4,
    defended_rounds=8,
    watching=(),
    changes=(("data.image-size", 32),),
)
FULL = Plan(
    seeds=(1, 2, 3),
    conditions=tuple(CONDITIONS),
    attacks=(
        NULL,
        "badnets",
        "badnets:side=3",
        "badnets:boost=1",
        "distributed-trigger",
        "label-flip",
        "sign-flip",
        "random-update",
        "norm-bounded",
        "slow",
        "adaptive",
    ),
    warm_up=12,
    clean_rounds=34,
    attack_rounds=7,
    defended_rounds=14,
    watching=(),
    changes=(("training.local-epochs", 1),),
)


@dataclass(frozen=True)
class Unit:
    """One run of rounds, which is kept by itself, so that an interrupted lab goes on where it was.

    Attributes:
        condition: A name in `CONDITIONS`.
        seed: See `Plan`.
        attack: See `Plan`; None: the clean rounds from the first on, from which attacks start.
        defended: Whether detectors look.
    """

    condition: str
    seed: int
    attack: str | None
    defended: bool

    @property
    def name(self) -> str:
        """Names the unit's file."""
        attack = "clean" if self.attack is None else self.attack.replace(":", "-").replace("=", "-").replace(",", "-")
        return f"{self.condition}-{self.seed}-{attack}-{'defended' if self.defended else 'undefended'}"


def clean_units(plan: Plan) -> Iterator[Unit]:
    """The clean rounds of all conditions."""
    for condition in plan.conditions:
        for seed in plan.seeds:
            yield Unit(condition, seed, None, defended=True)


def attack_units(plan: Plan) -> Iterator[Unit]:
    """Every attack without detectors, and with them."""
    for seed in plan.seeds:
        for attack in plan.attacks:
            for defended in (False, True):
                yield Unit(plan.conditions[0], seed, attack, defended)


def narrowed(
    plan: Plan,
    seeds: tuple[int, ...],
    attacks: tuple[str, ...],
    conditions: tuple[str, ...],
    watching: tuple[str, ...],
    changes: Changes,
) -> Plan:
    """The plan with what was asked for in place of its own, where anything was; settings are added to its own."""
    return dataclasses.replace(
        plan,
        seeds=seeds or plan.seeds,
        attacks=attacks or plan.attacks,
        conditions=conditions or plan.conditions,
        watching=watching or plan.watching,
        changes=(*plan.changes, *changes),
    )
