"""From attacks on what a run's parties hold to rows and verdicts.

A row is a **LEAK** if the attacker names victims more often than chance explains, by pictures or by gradients, or if an
image that he finds passes the prior by more than 3 dB or 0.1 of SSIM. It is **PARTIAL** if victims only tend to come
before strangers. Else it is a **PASS** of so many attempts, and proves nothing beyond them. What chance explains is
asked of all parties and both ways together, see `fedward.labs.leakage.summary`, and of the planted leak by itself.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest, norm

from fedward.labs.leakage.parties import NULL, PLANTED
from fedward.labs.leakage.summary import (
    LEAK,
    LUCK,
    MORE_THAN_PRIOR_DB,
    MORE_THAN_PRIOR_SSIM,
    PARTIAL,
    PASS,
    adjust_all,
    adjust_share,
)

WAYS = ("by_picture", "by_gradient")

THREAT_MODEL = (
    "Each attacker is a party of this run, honest but curious, or several together, with what the named files of the"
    " run's folder give it. It also knows the model that the round started from, labels, settings, and X-rays of"
    " patients whom nobody trained on. The images that were trained on are the lab's knowledge, taken from the run's"
    " data to measure with; no attacker is handed them but as one of several candidates."
)


def row_of(told: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table, without its verdict.

    Args:
        told: Round, party, what it holds, in which files, and what is attacked.
        found: What the attack came to.
    """
    row = {**told, **found}
    for way in WAYS:
        row[way] = {**found[way], **_luck(found[way], found["by_prior"], found["among"])}
    return row


def judge(rows: Sequence[dict[str, Any]]) -> None:
    """Add to each row its verdict, and to its ways the adjusted p-values that it rests on."""
    for planted in (True, False):
        ways = [row[way] for row in rows if (row["party"] == PLANTED) == planted for way in WAYS]
        adjust_all(ways, "p")
        adjust_share(ways, "place_p")
    for row in rows:
        row["verdict"] = verdict_of(row)


def verdict_of(row: Mapping[str, Any]) -> str:
    """The verdict of a row whose p-values are adjusted."""
    above = row["most_above_prior"]
    seen = above["psnr_db"] > MORE_THAN_PRIOR_DB or above["ssim"] > MORE_THAN_PRIOR_SSIM
    if seen or any(row[way]["p_adjusted"] < LUCK for way in WAYS):
        return LEAK
    return PARTIAL if any(row[way]["place_p_adjusted"] < LUCK for way in WAYS) else PASS


def _luck(ranks: Mapping[str, Any], prior: Mapping[str, Any], among: int) -> dict[str, float]:
    """The chance of so many hits, and of such a mean place, by guessing; guessing is at least as good as the prior."""
    chance = max(1 / among, prior["hits"] / prior["of"])
    p = binomtest(ranks["hits"], ranks["of"], min(chance, 1.0), alternative="greater").pvalue
    deviation = math.sqrt((among + 1) / (among - 1) / 12 / ranks["of"])
    return {"chance": chance, "p": float(p), "place_p": float(norm.cdf((ranks["place"] - 0.5) / deviation))}


def faults(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the lab itself: a control that was not found, by either way, or a leak of nothing."""
    told = []
    for row in rows:
        where = f"{row['party']} in round {row['round']}"
        if row["party"] == PLANTED:
            if row["verdict"] != LEAK:
                told.append(f"{where} is {row['verdict']} where {LEAK} is certain")
            told += [f"{where} is not found {way.replace('_', ' ')}" for way in WAYS if row[way]["p"] >= LUCK]
        if row["party"] == NULL and row["verdict"] == LEAK:
            told.append(f"{where} is {LEAK} where nothing is held")
    return told


def sentence_of(rows: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> str:
    """The lab's answer in words.

    Args:
        rows: All of them.
        missing: What could not be attacked, and why.
    """
    shown = [row for row in rows if row["party"] not in (PLANTED, NULL)]
    sentences = []
    for verdict in (LEAK, PARTIAL, PASS):
        named = [f"{row['party']} (round {row['round']})" for row in shown if row["verdict"] == verdict]
        if named:
            sentences.append(f"{verdict}: {', '.join(named)}.")
    passed = [row for row in shown if row["verdict"] == PASS]
    if passed:
        sentences.append(
            f"Behind each PASS are at least {min(row['attempts'] for row in passed)} attempts to rebuild images and"
            f" {min(row['by_gradient']['of'] for row in passed)} guesses by gradients that failed. That these"
            " failed does not prove that nothing leaks."
        )
    return " ".join([*sentences, *missing])
