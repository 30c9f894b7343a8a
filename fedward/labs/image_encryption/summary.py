"""From the results of all units to the tables: means over seeds, and the worst seed where a bar is to be held."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fedward.labs.image_encryption.models import ELSEWHERE, FEDERATION
from fedward.labs.image_encryption.plan import Plan, Unit, method_units
from fedward.labs.image_encryption.trial import AUTHORIZED

_READER_FIGURES = ("psnr_db", "psnr_db_median", "ssim", "ssim_median", "accuracy", "precision", "recall", "f1", "auc")

Found = Mapping[Unit, dict[str, Any]]


def summarize(plan: Plan, found: Found) -> dict[str, Any]:
    """All figures of the lab.

    Args:
        plan: What was run.
        found: What `run_method` found, by unit.
    """
    methods = [_method(plan, found, method) for method in plan.methods]
    return {
        "seeds": list(plan.seeds),
        "methods": methods,
        "readers": _readers(plan, found),
        "verdict": _verdict(methods),
    }


def _method(plan: Plan, found: Found, method: str) -> dict[str, Any]:
    runs = [found[unit] for unit in method_units(plan) if unit.part == method and unit in found]
    one = _figure(runs)
    reader = f"readers/{AUTHORIZED}"
    return {
        "method": method,
        "seeds": len(runs),
        "images": one("images"),
        "clean_accuracy": one("clean/accuracy"),
        "psnr": one("encrypted/psnr_db"),
        "psnr_in_eight_bits": one("encrypted/in_eight_bits/psnr_db"),
        "ssim": one("encrypted/ssim"),
        "l2": one("encrypted/l2"),
        "hidden": one("encrypted/hidden/share"),
        "hidden_in_eight_bits": one("encrypted/in_eight_bits/hidden/share"),
        "hidden_worst": one("encrypted/hidden/share", min),
        "restored_psnr": one(f"{reader}/all/psnr_db"),
        "restored_ssim": one(f"{reader}/all/ssim"),
        "recovered": one(f"{reader}/all/accuracy"),
        "recovered_hidden": one(f"{reader}/hidden/accuracy"),
        "attackers": _by_name(runs, "attackers", "accuracy"),
        "misled": _by_name(runs, "transfer", "misled/share"),
        "transfer_accuracy": _by_name(runs, "transfer", "encrypted/accuracy"),
        "images_a_second": one("images_a_second"),
    }


def _readers(plan: Plan, found: Found) -> list[dict[str, Any]]:
    """All readers on images of the method that compares them."""
    runs = [found[unit] for unit in method_units(plan) if unit.part == plan.methods[0] and unit in found]
    names = list(runs[0]["readers"]) if runs else []
    one = _figure(runs)
    return [
        {
            "reader": name,
            **{
                f"{of}_{figure}": one(f"readers/{name}/{of}/{figure}")
                for of in ("all", "hidden")
                for figure in _READER_FIGURES
            },
            "encrypted_psnr": one(f"readers/{name}/all/encrypted/psnr_db"),
            "encrypted_ssim": one(f"readers/{name}/all/encrypted/ssim"),
        }
        for name in names
    ]


def _verdict(methods: Sequence[dict[str, Any]]) -> str:
    """The lab's answer in words."""
    known = [each for each in methods if each["hidden_in_eight_bits"] is not None]
    if not known:
        return "Nothing was measured."
    best = max(known, key=lambda each: each["hidden_in_eight_bits"])
    attackers = {name: value for name, value in best["attackers"].items() if value is not None}
    told = ", ".join(
        f"{value:.2f} with {name} known pairs" if name != "0" else f"{value:.2f} with a classifier of his own"
        for name, value in attackers.items()
    )
    elsewhere = {name: value for name, value in best["misled"].items() if name != FEDERATION and value is not None}
    misled = ", ".join(
        f"{'the same architecture' if name == ELSEWHERE else name} {value:.2f}" for name, value in elsewhere.items()
    )
    return (
        f"In files of 8 bits {best['method']} hides {best['hidden_in_eight_bits']:.2f} of the labels from the"
        " classifier that it was made against."
        f" Of other classifiers it misleads far fewer: {misled}. An attacker reads labels with an accuracy of {told}."
        " This is label cloaking, not cryptography: whoever looks at an image sees it."
    )


def _figure(runs: Sequence[Mapping[str, Any]]) -> Callable[..., float | None]:
    """Looks up a figure in all runs and gives its mean, or what else is asked for; None where no run has it."""

    def one(path: str, of: Callable[[Sequence[float]], Any] = np.mean) -> float | None:
        values = [value for run in runs if (value := _at(run, path)) is not None]
        return float(of(values)) if values else None

    return one


def _by_name(runs: Sequence[Mapping[str, Any]], table: str, figure: str) -> dict[str, float | None]:
    names = dict.fromkeys(name for run in runs for name in run[table])
    one = _figure(runs)
    return {name: one(f"{table}/{name}/{figure}") for name in names}


def _at(run: Mapping[str, Any], path: str) -> Any:
    value: Any = run
    for key in path.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
