"""From the results of all units to a table and verdicts.

A row is a **LEAK** if the attacker names the right X-ray more often than chance explains, or if any attempt passes the
prior of its image by more than 0.1 of SSIM or 3 dB, and by more than the same attempts pass the prior of any stranger's
image: what they show beyond that is of this image, not of X-rays at large. It is **PARTIAL** if he only counts the
labels better than chance explains. Else it is a **PASS** of so many attempts, and proves nothing beyond them.

What chance explains is asked of all rows together: of many rows that give nothing, luck names a few victims in some.
Binomial p-values of naming are adjusted by Holm 1979: that luck makes any row of a table a LEAK by naming has a chance
of at most 0.01, whatever else leaks and however rows depend on each other. Those of labels are adjusted by Benjamini
and Hochberg 1995: of the rows with labels counted better than chance, at most 0.01 are luck on average, as long as rows
do not speak against each other. The planted leak is judged by itself, as it is no question.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, false_discovery_control

from fedward.labs.leakage.plan import NULLS, PLANTED, Case, Plan, Unit, all_cases, cleaning_units

LEAK, PARTIAL, PASS = "LEAK", "PARTIAL", "PASS"
MORE_THAN_PRIOR_DB, MORE_THAN_PRIOR_SSIM = 3.0, 0.1
LUCK = 0.01  # adjusted p-values below this are more than luck
FEWEST_ATTEMPTS = 20  # behind a PASS that is worth a word

THREAT_MODEL = (
    "The attacker is the server, or whoever reads what it gets: honest but curious. He knows the model, the labels, how"
    " many images were trained on and how, and what is done to updates; he has X-rays of other patients. He has no"
    " image of the hospital's, and no key. What he gets is said in each row: one hospital's update, a sum, or"
    " ciphertexts. He changes nothing: a server that sends models made to leak is not measured here."
)

Found = Mapping[Unit, dict[str, Any]]


def summarize(plan: Plan, found: Found) -> dict[str, Any]:
    """All figures of the lab.

    Args:
        plan: What was run.
        found: What trials found, by unit.
    """
    rows = []
    for case in all_cases(plan):
        runs = [found[unit] for unit in (Unit(seed, case) for seed in plan.seeds) if unit in found]
        if runs:
            cleaned = [found[unit] for unit in cleaning_units(plan) if unit.case == case and unit in found]
            rows.append(_row(case, runs, cleaned))
    judge(rows)
    return {
        "seeds": list(plan.seeds),
        "threat_model": THREAT_MODEL,
        "steps": plan.steps,
        "rows": rows,
        "faults": faults(rows),
        "verdict": _verdict(rows),
    }


def faults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the lab itself: a planted leak that it did not find, or a leak of nothing."""
    wanted = {PLANTED: LEAK, **dict.fromkeys(NULLS, PASS)}
    by_case = {_case_of(row): row["verdict"] for row in rows}
    return [
        f"{case.model} with {case.obfuscation} and batch {case.batch} is {by_case[case]} where {verdict} is certain"
        for case, verdict in wanted.items()
        if by_case.get(case, verdict) != verdict
    ]


def _case_of(row: Mapping[str, Any]) -> Case:
    return Case(row["obfuscation"], row["model"], row["start"], row["batch"], row["local_steps"])


def _row(case: Case, runs: Sequence[Mapping[str, Any]], cleaned: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    victims = [victim for run in runs for victim in run["victims"]]
    named, read = (_luck(victims, name, chance) for name, chance in (("named", _one_in), ("labels_read", _labels)))
    above = {name: max(victim["most_above_prior"][name] for victim in victims) for name in ("psnr_db", "ssim")}
    known = [each for victim in victims if (each := victim.get("strangers_above_prior"))]
    complete = len(known) == len(victims)  # or an earlier version measured some
    strangers = {name: max(each[name] for each in known) for name in above} if complete else None
    return {
        "obfuscation": case.obfuscation,
        "model": case.model,
        "start": case.start,
        "batch": case.batch,
        "local_steps": case.local_steps,
        "images_seen": runs[0]["images"],
        "seeds": len(runs),
        "victims": len(victims),
        "attempts": sum(len(victim["attempts"]) for victim in victims),
        **{name: _mean([victim[name] for victim in victims]) for name in ("best", "prior", "ceiling")},
        "cleaned": _mean(cleaned),
        "highest": {name: max(victim["best"][name] for victim in victims) for name in victims[0]["best"]},
        "matchings": _by_matching(victims),
        "most_above_prior": above,
        "strangers_above_prior": strangers,
        "named": named,
        "labels_read": read,
    }


def judge(rows: Sequence[dict[str, Any]]) -> None:
    """Add to each row its verdict, and the p-values that it rests on, which depend on the other rows: `p_adjusted`."""
    for planted in (True, False):
        some = [row for row in rows if (row["model"] == PLANTED.model) == planted]
        adjust_all([row["named"] for row in some])
        adjust_share([row["labels_read"] for row in some])
    for row in rows:
        named_p, labels_p = row["named"]["p_adjusted"], row["labels_read"]["p_adjusted"]
        row["verdict"] = verdict_of(named_p, labels_p, row["most_above_prior"], row["strangers_above_prior"])


def adjust_all(tests: Sequence[dict[str, Any]], name: str = "p") -> None:
    """Add to each of several tests its p-value, adjusted for their number by Holm: `p_adjusted`."""
    least = 0.0
    for place, test in enumerate(sorted(tests, key=lambda each: float(each[name]))):
        least = max(least, min(1.0, float(test[name]) * (len(tests) - place)))
        test[f"{name}_adjusted"] = least


def adjust_share(tests: Sequence[dict[str, Any]], name: str = "p") -> None:
    """Add to each of several tests its p-value, adjusted for their number by Benjamini and Hochberg: `p_adjusted`."""
    found = false_discovery_control([test[name] for test in tests]) if tests else []
    for test, p in zip(tests, found, strict=True):
        test[f"{name}_adjusted"] = float(p)


def verdict_of(
    named_p: float, labels_p: float, above: Mapping[str, float], chance: Mapping[str, float] | None = None
) -> str:
    """The verdict of a row.

    Args:
        named_p: The chance of naming so many X-rays by guessing, adjusted for the number of rows.
        labels_p: The chance of counting labels right so often by guessing, adjusted too.
        above: By how much the best image passes its prior, `psnr_db` and `ssim`.
        chance: The same of strangers' images; None: not measured.
    """
    margins = {"psnr_db": MORE_THAN_PRIOR_DB, "ssim": MORE_THAN_PRIOR_SSIM}
    seen = any(above[name] > max(margin, chance[name] if chance else margin) for name, margin in margins.items())
    if named_p < LUCK or seen:
        return LEAK
    return PARTIAL if labels_p < LUCK else PASS


def _luck(victims: Sequence[Mapping[str, Any]], name: str, chance_of: Any) -> dict[str, Any]:
    """How often the attacker was right, and the chance of that by guessing; of several chances the largest."""
    hits, chance = sum(bool(victim[name]) for victim in victims), max(map(chance_of, victims))
    p = binomtest(hits, len(victims), chance, alternative="greater").pvalue
    return {"hits": hits, "of": len(victims), "chance": chance, "p": float(p)}


def _one_in(victim: Mapping[str, Any]) -> float:
    return 1 / int(victim["among"])


def _labels(victim: Mapping[str, Any]) -> float:
    return float(victim["labels_chance"])


def _by_matching(victims: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """PSNR of each attempt, mean over victims."""
    return {
        name: float(np.mean([victim["attempts"][name]["psnr_db"] for victim in victims]))
        for name in victims[0]["attempts"]
    }


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    """Means by name; None of nothing."""
    return {name: float(np.mean([each[name] for each in figures])) for name in figures[0]} if figures else None


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """The lab's answer in words."""
    shown = [row for row in rows if _case_of(row) not in (PLANTED, *NULLS)]
    sentences = []
    for verdict in (LEAK, PARTIAL, PASS):
        named = [row_name(row) for row in shown if row["verdict"] == verdict]
        if named:
            sentences.append(f"{verdict}: {', '.join(named)}.")
    attempts = [row["attempts"] for row in shown if row["verdict"] == PASS]
    if attempts:
        few = " Fewer than 20 are too few to say anything." if min(attempts) < FEWEST_ATTEMPTS else ""
        sentences.append(
            f"Behind each PASS are at least {min(attempts)} attempts that failed.{few} That these failed does not prove"
            " that nothing leaks; for encryption and differential privacy, proofs do."
        )
    return " ".join(sentences)


def row_name(row: Mapping[str, Any]) -> str:
    """What a row is called: the obfuscation, and what differs from a new LeNet, one image and one step."""
    told = [row["obfuscation"]]
    if row["model"] != "lenet" or row["start"] != "new":
        told.append(f"{row['start']} {row['model']}")
    if row["batch"] > 1:
        told.append(f"batch {row['batch']}")
    if row["local_steps"] > 1:
        told.append(f"{row['local_steps']} local steps")
    return told[0] if len(told) == 1 else f"{told[0]} ({', '.join(told[1:])})"
