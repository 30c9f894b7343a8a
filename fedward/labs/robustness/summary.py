"""From the results of all units to the tables: means over seeds, the strongest attack at each bound, a verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedward.labs.robustness.checks import masking
from fedward.labs.robustness.plan import NONE, Plan, Unit, with_eps
from fedward.labs.robustness.trial import NULL, PERFECT

COLUMNS = ("transfer", "white-box")
FIGURES = ("auc", "auprc", "accuracy", "f1")
_USELESS = 0.5  # an AUC below which answers are worth less than a coin's

Found = Mapping[Unit, dict[str, Any]]


def summarize(plan: Plan, found: Found) -> dict[str, Any]:
    """All figures of the lab.

    Args:
        plan: What was run.
        found: What `run_defense` gave, by unit.
    """
    defenses = []
    for what in plan.defenses:
        runs = {seed: found[unit] for seed in plan.seeds if (unit := Unit(seed, "attack", what)) in found}
        if runs:
            defenses.append(_defense(plan, what, runs))
    return {
        "seeds": list(plan.seeds),
        "eps_of_255": list(plan.eps),
        "defenses": defenses,
        "masking": [f"{each['defense']}: {sign}" for each in defenses for sign in each["masking"]],
        "verdict": _verdict(plan, defenses),
    }


def _defense(plan: Plan, what: str, runs: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    every = list(runs.values())
    texts = [with_eps(*each) for each in plan.bounded()] + [plan.pixels]
    signs = [
        f"{sign} (seed {seed})" if len(runs) > 1 else sign for seed, run in runs.items() for sign in masking(plan, run)
    ]
    return {
        "defense": what,
        "seeds": len(runs),
        **{name: _mean(every, name) for name in ("clean", NULL, PERFECT)},
        "attacks": {column: {text: _mean(every, column, text) for text in texts} for column in COLUMNS},
        "strongest": {
            column: {f"{eps:g}": _strongest(plan, every, column, eps) for eps in plan.eps} for column in COLUMNS
        },
        "kept_of_slope": _average([run["kept_of_slope"] for run in every]),
        "masking": signs,
    }


def _mean(runs: Sequence[dict[str, Any]], *path: str) -> dict[str, Any]:
    """The mean of each figure over seeds, and of the ends of its intervals; None where no seed has it."""
    rows = [_at(run, path) for run in runs]
    found: dict[str, Any] = {name: _average([row[name] for row in rows]) for name in ("images", *FIGURES)}
    for name in ("auc_interval", "accuracy_interval"):
        known = [row[name] for row in rows if row[name] is not None]
        found[name] = [float(end) for end in np.mean(known, axis=0)] if known else None
    return found


def _strongest(plan: Plan, runs: Sequence[dict[str, Any]], column: str, eps: float) -> dict[str, Any]:
    """The attack that leaves the lowest mean AUC at a bound, with its figures."""
    means = {attack: _mean(runs, column, with_eps(attack, eps)) for attack in plan.attacks}
    known = {attack: mean for attack, mean in means.items() if mean["auc"] is not None}
    if not known:
        return {"attack": None, **dict.fromkeys(FIGURES)}
    best = min(known, key=lambda attack: known[attack]["auc"])
    return {"attack": best, **known[best]}


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _at(run: Any, path: Sequence[str]) -> Any:
    for key in path:
        run = run[key]
    return run


def _verdict(plan: Plan, defenses: Sequence[dict[str, Any]]) -> str:
    """The lab's answer in words."""
    told = [sentence for each in defenses if (sentence := _told(plan, each))]
    masked = [each["defense"] for each in defenses if each["masking"]]
    end = (
        f" Signs of hidden gradients at {', '.join(masked)}: their white-box figures are too good, and prove nothing."
        if masked
        else " No sign of hidden gradients was found."
    )
    return " ".join(told) + end


def _told(plan: Plan, each: dict[str, Any]) -> str:
    """One defense in a sentence: where white-box attacks make it worse than a coin, and what it cost."""
    areas = [(eps, each["strongest"]["white-box"][f"{eps:g}"]["auc"]) for eps in sorted(plan.eps)]
    fallen = [(eps, area) for eps, area in areas if area is not None and area < _USELESS]
    name = "The undefended classifier" if each["defense"] == NONE else each["defense"]
    clean = each["clean"]["auc"]
    if clean is None or areas[-1][1] is None:
        return ""
    if fallen:
        eps, area = fallen[0]
        return f"{name} (AUC {clean:.3f} unattacked) is worse than a coin from {eps:g}/255 on: {area:.3f}."
    eps, area = areas[-1]
    return f"{name} (AUC {clean:.3f} unattacked) keeps {area:.3f} at {eps:g}/255."
