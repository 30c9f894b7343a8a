"""The tables of `main.py lab membership`."""

from collections.abc import Mapping, Sequence
from typing import Any

from commands.lab.sheets import Sheet


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """What attackers tell, and what that says of epsilon."""
    headings = (
        "training",
        "verdict",
        "models",
        "accuracy in",
        "out",
        "AUC by scores",
        "AUC by rounds",
        "found by scores",
        "found by rounds",
        "at false positives",
        "canaries right",
        "epsilon at least",
        "stated",
        "if independent",
    )
    seeds = ", ".join(map(str, summary["seeds"]))
    title = f"Membership of patients, seeds {seeds}; intervals of 95 %, by patient"
    return (Sheet(title, headings, tuple(map(_row, summary["rows"]))),)


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    seen, bound = [row["by_scores"], row["by_weights"]], row["bound"]
    accuracy = [f"{share:.3f}" for share in row["accuracy"]] if row["accuracy"] else ["-", "-"]
    return (
        row["name"],
        row["verdict"],
        str(row["models"] or "-"),
        *accuracy,
        *(_measured(each, "auc") for each in seen),
        *(_measured(each, "found") for each in seen),
        f"{100 * seen[0]['rate']:.2g} % of {seen[0]['others']:,}" if seen[0] else "-",
        f"{bound['right']} of {bound['guesses']}",
        f"{bound['epsilon']:.2f}",
        "none" if row["stated"] is None else f"{row['stated']:.2f}",
        f"{row['bound_if_independent']:.2f}",
    )


def _measured(found: Mapping[str, Any] | None, name: str) -> str:
    if found is None:
        return "-"
    ends: Sequence[float] | None = found[f"{name}_interval"]
    return f"{found[name]:.3f}" + (f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")
