"""The tables of `main.py lab robustness`."""

from typing import Any

from commands.lab.sheets import Sheet
from fedward.labs.robustness.summary import COLUMNS
from fedward.labs.robustness.trial import PERFECT


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """Figures without attacks, the strongest attack at each bound, and every attack; these two in both columns."""
    return _clean(summary), *(table(summary, column) for table in (_strongest, _attacks) for column in COLUMNS[::-1])


def _clean(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["defense"],
            str(each["seeds"]),
            _with_interval(each["clean"], "auc"),
            _share(each["clean"]["auprc"]),
            _with_interval(each["clean"], "accuracy"),
            _share(each["clean"]["f1"]),
            _share(each[PERFECT]["auc"]),
        )
        for each in summary["defenses"]
    )
    headings = ("defense", "seeds", "AUC", "AUPRC", "accuracy", "F1", "AUC under the perfect attack")
    return Sheet("Without an attack, mean over seeds", headings, rows)


def _strongest(summary: dict[str, Any], column: str) -> Sheet:
    names = [f"{eps:g}" for eps in summary["eps_of_255"]]
    rows = tuple(
        (
            each["defense"],
            _share(each["clean"]["auc"]),
            *(_with_interval(each["strongest"][column][name], "auc") for name in names),
        )
        for each in summary["defenses"]
    )
    headings = ("defense", "no attack", *(f"{name}/255" for name in names))
    return Sheet(f"AUC under the strongest attack, {column}", headings, rows)


def _attacks(summary: dict[str, Any], column: str) -> Sheet:
    rows = tuple(
        (each["defense"], *_attack_and_bound(text), *(_share(found[figure]) for figure in ("auc", "accuracy", "f1")))
        for each in summary["defenses"]
        for text, found in each["attacks"][column].items()
    )
    headings = ("defense", "attack", "bound of 255", "AUC", "accuracy", "F1")
    return Sheet(f"Every attack, {column}", headings, rows, keys=3)


def _attack_and_bound(text: str) -> tuple[str, str]:
    """An attack as `with_eps` writes it, in two: without its bound, where a line may end at a comma, and the bound."""
    attack, _, eps = text.rpartition("eps=")
    return (attack.rstrip(":,").replace(",", ", "), f"{255 * float(eps):.3g}") if attack else (text, "-")


def _with_interval(figures: dict[str, Any], name: str) -> str:
    interval = figures.get(f"{name}_interval")
    ends = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return _share(figures[name]) + ends


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
