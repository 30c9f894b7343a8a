"""From attackers' scores to a table and verdicts.

A row is a **LEAK** if an attacker tells members from others: the interval of an AUC, of patients, lies above 0.5. It is
**PARTIAL** if he tells planted canaries only: the bound on epsilon is above 0. Else it is a **PASS** of so many models,
and proves nothing beyond them. It is **BROKEN**, whatever else, if the bound is above the epsilon that is stated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fedward.figures.intervals import auc_interval, auc_parts, ratio_interval
from fedward.labs.membership.plan import (
    KNOWN,
    MEMORIZED,
    NULL,
    TRAINING,
    WEAK,
    Case,
    Plan,
    Unit,
    all_cases,
)
from fedward.labs.membership.pool import Bits, Wide
from fedward.labs.membership.running import Scored
from fedward.privacy.epsilon_lower_bound import epsilon_found
from fedward.privacy.one_run_audit import bound_of_scores

LEAK, PARTIAL, PASS, BROKEN, HOLDS = "LEAK", "PARTIAL", "PASS", "BROKEN", "HOLDS"
ASKED_RATE = 0.001  # false positives, at which Carlini et al. compare attacks
LEAST_OF_MEMORY = 0.95
SURE = 1 - 1e-5  # of a bound that accuses the lab itself
CURVE = np.logspace(-4, 0, 81)  # false positive rates of the picture

THREAT_MODEL = (
    "Two attackers ask whether a patient was trained on. Both know how training goes and have that patient's images and"
    " labels, other patients' X-rays, and machines to train shadow models. One sees the final model's scores alone. The"
    " other is a hospital: it sees the model after every round, and has the images of everybody of whom it might be"
    " asked. The bound on epsilon rests on canaries that an auditor planted: drawn images unlike any X-ray. Nobody"
    " changes training otherwise, and nobody has keys."
)

Found = Mapping[Unit, dict[str, Any]]


def summarize(plan: Plan, found: Found, scored: Mapping[Unit, Scored]) -> dict[str, Any]:
    """All figures of the lab.

    Args:
        plan: What was run.
        found: What units told, by unit.
        scored: What attackers said there.
    """
    rows = []
    for case in all_cases(plan):
        units = [unit for unit in (Unit(seed, case) for seed in plan.seeds) if unit in found]
        if units:
            rows.append(_row(case, [found[unit] for unit in units], [scored[unit] for unit in units], plan))
    return {
        "seeds": list(plan.seeds),
        "threat_model": THREAT_MODEL,
        "patients": plan.patients,
        "shadows": plan.shadows,
        "targets": plan.targets,
        "asked_rate": ASKED_RATE,
        "rows": rows,
        "faults": faults(rows),
        "verdict": _verdict(rows),
    }


def faults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the lab itself, or with a training that states an epsilon and does not keep it."""
    wrong = []
    for row in rows:
        name, bound, stated = row["name"], row["bound"]["epsilon"], row["stated"]
        if name == MEMORIZED.name and row["by_scores"]["auc"] < LEAST_OF_MEMORY:
            wrong.append(f"a model that memorized has an AUC of {row['by_scores']['auc']:.3f} only")
        elif name == NULL.name and row["sure_bound"] > 0:
            wrong.append(f"epsilon {row['sure_bound']:.2f} is found where nothing of the canaries was trained on")
        elif name == NULL.name and _tells(row, "by_scores") and _tells(row, "by_weights"):
            wrong.append("members are told where nothing of them was trained on")
        elif name == WEAK.name and bound <= stated:
            wrong.append(f"a tenth of the stated noise is not noticed: {bound:.2f} of epsilon {stated:.2f}")
        elif row["kind"] == KNOWN and bound == 0:
            wrong.append(f"nothing is found of {name}, whose epsilon is {stated:.2f}")
        if stated is not None and row["noise"] == 1 and row["sure_bound"] > stated:
            wrong.append(f"{name} states epsilon {stated:.2f}, and at least {row['sure_bound']:.2f} is found")
    return wrong


def _row(case: Case, told: Sequence[Mapping[str, Any]], scored: Sequence[Scored], plan: Plan) -> dict[str, Any]:
    members, canaries = (np.concatenate([getattr(each, name).ravel() for each in scored]) for name in _CANARIES)
    delta, stated = float(told[0]["delta"]), told[0]["stated"]
    bound = bound_of_scores(canaries, members, delta)
    inside, outside = canaries[members], canaries[~members]
    few = min(len(inside), len(outside))
    row: dict[str, Any] = {
        "name": case.name,
        "kind": case.kind,
        "preset": case.preset,
        "noise": case.noise,
        "seeds": len(told),
        "models": len(told) * (0 if case.kind == KNOWN else plan.models),
        "delta": delta,
        "stated": stated,
        "bound": asdict(bound),
        "sure_bound": bound_of_scores(canaries, members, delta, SURE).epsilon,
        "bound_if_independent": epsilon_found(inside[:few], outside[:few], delta),
        "accuracy": np.mean([each["accuracy"] for each in told], axis=0).tolist() if "accuracy" in told[0] else None,
        "by_scores": _attacker(scored, "by_scores"),
        "by_weights": _attacker(scored, "by_weights"),
    }
    return row | {"verdict": verdict_of(row)}


_CANARIES = ("canary_members", "canaries")


def verdict_of(row: Mapping[str, Any]) -> str:
    """The verdict of a row."""
    if row["stated"] is not None and row["bound"]["epsilon"] > row["stated"]:
        return BROKEN
    if row["kind"] == KNOWN:
        return HOLDS
    if any(_tells(row, name) for name in ("by_scores", "by_weights")):
        return LEAK
    return PARTIAL if row["bound"]["epsilon"] > 0 else PASS


def _tells(row: Mapping[str, Any], name: str) -> bool:
    found = row[name]
    if found is None:
        return False
    return bool(found["auc_interval"][0] > 0.5 if found["auc_interval"] else found["auc"] > 0.5)


def _attacker(scored: Sequence[Scored], name: str) -> dict[str, Any] | None:
    """An attacker's AUC and his true positives at few false ones, with intervals by patient; None without scores."""
    parts = [getattr(each, name) for each in scored]
    if not parts[0].size:
        return None
    patients = parts[0].shape[1]
    scores = np.concatenate([part.ravel() for part in parts])
    members = np.concatenate([each.members.ravel() for each in scored])
    groups = np.concatenate([np.tile(np.arange(patients) + patients * at, len(of)) for at, of in enumerate(parts)])
    area, shares = auc_parts(scores, members, groups)
    rate = max(ASKED_RATE, 1 / int((~members).sum()))
    hits = (members & (scores > threshold_at(scores, members, rate))).astype(np.float64)
    return {
        "auc": area,
        "auc_interval": auc_interval(area, shares),
        "rate": rate,
        "found": float(hits.sum() / members.sum()),
        "found_interval": ratio_interval(hits, members.astype(np.float64), groups),
        "others": int((~members).sum()),
        "curve": [float((scores[members] > threshold_at(scores, members, each)).mean()) for each in CURVE],
    }


def threshold_at(scores: Wide, members: Bits, rate: float) -> float:
    """The lowest threshold that at most such a share of those who are out passes."""
    others = np.sort(scores[~members])[::-1]
    return float(others[min(len(others) - 1, int(rate * len(others) + 1e-9))])


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """The lab's answer in words."""
    shown, sentences = [row for row in rows if row["kind"] == TRAINING], []
    for verdict in (BROKEN, LEAK, PARTIAL, PASS):
        named = [row["name"] for row in shown if row["verdict"] == verdict]
        if named:
            sentences.append(f"{verdict}: {'; '.join(named)}.")
    private = [row for row in shown if row["stated"] is not None and row["noise"] == 1]
    sentences += [
        f"{row['name']}: epsilon is at least {row['bound']['epsilon']:.2f}, stated is at most {row['stated']:.2f}."
        for row in private
    ]
    if any(row["verdict"] == PASS for row in shown):
        sentences.append("That these attackers failed does not prove that nothing is told; the stated epsilon does.")
    return " ".join(sentences)
