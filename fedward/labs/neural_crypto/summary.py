"""From the results of all units to tables and a verdict: means over seeds, and of attacks the strongest.

A cipher is **broken** if an attack that its users cannot rule out reads images better than the prior by more than is
luck, 1 dB of PSNR or 0.1 of SSIM, or tells chosen messages apart as often as guessing does less than once in 1,000
times. Whatever is not broken was not broken by these attacks, which proves nothing. That a nonce is never used twice
is left to the users: such an attack is measured, and does not count.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedward.figures.intervals import ratio_interval
from fedward.labs.neural_crypto.plan import AES, MIXER, PUBLISHED, Plan, Unit, cipher_units

MORE_THAN_PRIOR_DB, MORE_THAN_PRIOR_SSIM = 1.0, 0.1
LUCK = 0.001  # the chance of guessing as well, below which messages are told apart
MOST = 0.9  # of messages of images, recovered exactly
GOAL_DB = 10.0

Found = Mapping[Unit, dict[str, Any]]


def summarize(plan: Plan, found: Found, training: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All figures of the lab.

    Args:
        plan: What was run.
        found: What `measure` found, by unit.
        training: What was told of training, of each seed.
    """
    ciphers = []
    for name in plan.ciphers:
        runs = [found[unit] for unit in cipher_units(plan) if unit.part == name and unit in found]
        if runs:
            ciphers.append(_cipher(runs))
    return {
        "seeds": list(plan.seeds),
        "threat_model": THREAT_MODEL,
        "ciphers": ciphers,
        "affine_attack": _affine([run["affine_attack"] for run in found.values() if "affine_attack" in run]),
        "published_eve_psnr_db": [each["published_eve_psnr_db"] for each in training],
        "constant_code_numbers": [each["constant_code_numbers"] for each in training],
        "eves_error_in_training": [each["eves_error_in_training"] for each in training],
        "verdict": _verdict(ciphers),
    }


THREAT_MODEL = (
    "Networks, nonces and what is sent are public; a key, which is an image, is not. Eve has other patients' images,"
    " has them sent under keys of her own, and is trained from scratch on the finished cipher. Attackers with known or"
    " chosen plaintexts have them under the one key that they attack. All is measured on images of patients whom"
    " nobody learned from."
)


def broken_by(run: Mapping[str, Any]) -> list[str]:
    """The attacks that broke a cipher in one run, in words; none: it was not broken by these.

    Args:
        run: What `measure` found.
    """
    prior = run["prior"]
    found = ["Eve"] if any(_reads(reads, prior) for reads in run["eves"].values()) else []
    found += [
        words
        for words, reads in (
            ("another image as the key", run["wrong_key"]),
            ("a key that is one pixel off", run["near_key"]),
        )
        if reads is not None and _reads(reads, prior)
    ]
    for count, by in run["known_plaintexts"].items():
        if any(_reads(reads, prior) for reads in by.values()):
            found.append(f"{count} known plaintexts")
            break
    if any(each["p"] < LUCK for each in run["chosen_plaintexts"].values()):
        found.append("chosen plaintexts told apart")
    return [*found, *_recovered(run.get("affine_attack", {}))]


def _recovered(attack: Mapping[str, Any]) -> list[str]:
    """What least squares recovered, in words: all of random codes, and most messages of images."""
    found = []
    for name, words, share in (("random", "random codes", 1.0), ("images", "images, most messages", MOST)):
        for what, by in (("known triples", "sent_by_triples"), ("known pairs under one key", "code_by_pairs")):
            exact = [count for count, errors in attack.get(name, {}).get(by, {}).items() if errors["exact"] >= share]
            found += [f"least squares from {exact[0]} {what} ({words})"] if exact else []
    return found


def _reads(reads: Mapping[str, float], prior: Mapping[str, float]) -> bool:
    """Whether somebody sees more than the prior tells."""
    return (
        reads["psnr_db"] > prior["psnr_db"] + MORE_THAN_PRIOR_DB or reads["ssim"] > prior["ssim"] + MORE_THAN_PRIOR_SSIM
    )


def _cipher(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    eves = {name: _mean([run["eves"][name] for run in runs]) for name in runs[0]["eves"]}
    strongest = [max(run["eves"].values(), key=lambda each: each["psnr_db"]) for run in runs]
    eve, bob = _mean(strongest), _mean([run["bob"] for run in runs])
    broken = [broken_by(run) for run in runs]
    every = dict.fromkeys(attack for attacks in broken for attack in attacks)
    return {
        "cipher": runs[0]["cipher"],
        "about": runs[0]["about"],
        "seeds": len(runs),
        "images": runs[0]["images"],
        "bob": bob,
        "strongest_eve": eve,
        "gap_db": bob["psnr_db"] - eve["psnr_db"] if bob and eve else None,
        "gap_db_least": min(run["bob"]["psnr_db"] - each["psnr_db"] for run, each in zip(runs, strongest, strict=True)),
        "eves": eves,
        "prior": _mean([run["prior"] for run in runs]),
        "ceiling": _mean([run["ceiling"] for run in runs]),
        **{name: _mean([run[name] for run in runs]) for name in ("wrong_key", "near_key", "same_nonce")},
        **{
            name: float(np.mean([run[name] for run in runs]))
            for name in ("npcr", "uaci", "entropy_bits", "neighbor_correlation")
        },
        "known_plaintexts": _known(runs),
        "chosen_plaintexts": _chosen(runs),
        "broken_by": [{"attack": attack, "seeds": sum(attack in attacks for attacks in broken)} for attack in every],
    }


def _known(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By number of pairs, what the strongest attacker reads, mean over seeds."""
    return {
        count: _mean([max(run["known_plaintexts"][count].values(), key=lambda each: each["psnr_db"]) for run in runs])
        for count in runs[0]["known_plaintexts"]
    }


def _chosen(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many chosen messages the better distinguisher told, of all seeds, and the least chance of it by guessing."""
    each = [max(run["chosen_plaintexts"].values(), key=lambda told: told["share"]) for run in runs]
    right, asked = (sum(one[name] for one in each) for name in ("right", "asked"))
    hits = np.repeat([1.0, 0.0], [right, asked - right])
    interval = ratio_interval(hits, np.ones(asked), np.arange(asked))
    return {"asked": asked, "share": right / asked, "interval": interval, "p": min(one["p"] for one in each)}


def _affine(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over seeds the largest errors, and the least shares that are exact."""
    found: dict[str, Any] = {
        name: {
            by: {
                count: {
                    figure: worst(run[name][by][count][figure] for run in runs)
                    for figure, worst in (("largest", max), ("median", max), ("exact", min))
                }
                for count in runs[0][name][by]
            }
            for by in ("sent_by_triples", "code_by_pairs")
        }
        for name in ("random", "images")
        if runs
    }
    return {**found, "seconds": max((run["seconds"] for run in runs), default=None)}


def _mean(figures: Sequence[Mapping[str, float] | None]) -> dict[str, float] | Any:
    """Means of PSNR and SSIM; None where some seed has none."""
    if any(each is None for each in figures):
        return None
    return {name: float(np.mean([each[name] for each in figures if each])) for name in ("psnr_db", "ssim")}


def _verdict(ciphers: Sequence[Mapping[str, Any]]) -> str:
    """The lab's answer in words."""
    sentences = []
    for each in ciphers:
        attacks = [one["attack"] for one in each["broken_by"]]
        told = f"BROKEN by {', '.join(attacks)}." if attacks else "not broken by these attacks."
        sentences.append(f"{each['cipher']}: {told}")
    by_name = {each["cipher"]: each for each in ciphers}
    if MIXER in by_name and by_name[MIXER]["gap_db"] is not None:
        gap = by_name[MIXER]["gap_db"]
        reached = "reaches" if gap > GOAL_DB else "misses"
        sentences.append(
            f"Bob's lead over the strongest Eve of the mixer is {gap:.1f} dB, which {reached} {GOAL_DB:.0f} dB."
        )
    if PUBLISHED in by_name or AES in by_name:
        sentences.append(
            "This is a demonstration for research, never protection: networks that fool networks prove nothing."
            " AES-256-GCM is exact, and refuses what was changed."
        )
    return " ".join(sentences)
