"""From the rounds of all units to the table: success, accuracy, detection and false alarms, with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from fedward.backdoor.update_norm import WINDOW
from fedward.labs.backdoor.plan import Plan, Unit, attack_units, clean_units
from fedward.labs.backdoor.trial import attackers_of

Results = Mapping[Unit, Sequence[dict[str, Any]]]


def summarize(plan: Plan, results: Results, quorum: int) -> dict[str, Any]:
    """All figures of the lab.

    Args:
        plan: What was run.
        results: Rounds of each unit, as `RoundResult.as_dict` gives them.
        quorum: So many hospitals that object reject a candidate.
    """
    return {
        "seeds": list(plan.seeds),
        "warm_up": plan.warm_up,
        "attack_rounds": plan.attack_rounds,
        "defended_rounds": plan.defended_rounds,
        "attacks": [_attack(plan, results, attack, quorum) for attack in plan.attacks],
        "clean": [_clean(plan, results, condition, quorum) for condition in plan.conditions],
        "seconds_a_check": _seconds(rounds for rounds in results.values()),
    }


def _attack(plan: Plan, results: Results, attack: str, quorum: int) -> dict[str, Any]:
    """One attack without detectors and with them, over all seeds."""
    units = [unit for unit in attack_units(plan) if unit.attack == attack and unit in results]
    without = [results[unit] for unit in units if not unit.defended]
    within = [results[unit] for unit in units if unit.defended]
    judged = [entry for rounds in within for entry in rounds]
    poisoned = [entry for entry in judged if entry["poisoned"] or not attackers_of(attack)]
    return {
        "attack": attack,
        "without": _ends(without),
        "with": _ends(within),
        "detection": {name: _rate(poisoned, name, quorum) for name in _names(poisoned)},
        "without_attacker": {
            "rounds": len(judged) - len(poisoned),
            "rejected": _rejected(judged) - _rejected(poisoned),
        },
        "named": _named(within, attackers_of(attack)),
    }


def _named(runs: Sequence[Sequence[dict[str, Any]]], attackers: int) -> dict[str, Any]:
    """In how many runs an attacker was suspended, after how many rounds on average; and how many others were."""
    rounds = [
        next(
            (place for place, entry in enumerate(entries, 1) if any(each < attackers for each in entry["named"])), None
        )
        for entries in runs
    ]
    known = [count for count in rounds if count is not None]
    return {
        "runs": len(runs),
        "suspended": len(known),
        "within_ten": sum(count <= 10 for count in known),
        "rounds": _mean(known),
        "honest": sum(each >= attackers for entries in runs for each in entries[-1]["named"]),
    }


def _rejected(entries: Sequence[dict[str, Any]]) -> int:
    return sum(entry["rejected"] for entry in entries)


def _clean(plan: Plan, results: Results, condition: str, quorum: int) -> dict[str, Any]:
    """False alarms in clean rounds under one condition; rounds in which detectors do not judge yet are left out."""
    units = [unit for unit in clean_units(plan) if unit.condition == condition and unit in results]
    judged = [entry for unit in units for entry in results[unit] if entry["round_index"] > WINDOW]
    return {
        "condition": condition,
        "false_alarms": {name: _rate(judged, name, quorum) for name in _names(judged)},
        "accuracy": _mean([results[unit][-1]["accuracy"] for unit in units]),
    }


def _ends(runs: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Means over seeds of how runs end; success also at its worst."""
    success = [rounds[-1]["success"] for rounds in runs]
    known = [value for value in success if value is not None]
    return {
        "runs": len(runs),
        "success": _mean(success),
        "success_worst": max(known) if known else None,
        "accuracy": _mean([rounds[-1]["accuracy"] for rounds in runs]),
    }


def _rate(judged: Sequence[dict[str, Any]], name: str, quorum: int) -> dict[str, Any]:
    """In how many rounds a quorum objected by one detector, with Wilson's interval of 95 %."""
    hits = sum(entry["objections"][name] >= quorum for entry in judged)
    interval = binomtest(hits, len(judged)).proportion_ci(method="wilson")
    return {
        "rounds": len(judged),
        "rejected": hits,
        "rate": hits / len(judged),
        "interval": [float(interval.low), float(interval.high)],
    }


def _names(judged: Sequence[dict[str, Any]]) -> list[str]:
    return list(judged[0]["objections"]) if judged else []


def _seconds(units: Iterable[Sequence[dict[str, Any]]]) -> dict[str, float]:
    """Median seconds that a detector takes at one hospital."""
    found: dict[str, list[float]] = {}
    for entry in (entry for rounds in units for entry in rounds):
        for name, seconds in entry["seconds"].items():
            found.setdefault(name, []).append(seconds)
    return {name: float(np.median(values)) for name, values in found.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
