"""Format a model's figures, intervals, thresholds and baselines as rows of text, the same in every table."""

from typing import Any

from fedward.figures.histograms import UNDECIDED

Row = tuple[str, str]
DECIDED = "threshold: recall / specificity"  # the heading of `decided`


def figure(scores: dict[str, Any], name: str, with_interval: bool = False) -> str:
    """One figure with four decimals; with its interval, or with the reason why there is none.

    Args:
        scores: As `fedward.figures.scores.Scores.as_dict` gives them.
        name: Which figure.
        with_interval: Show the 95 % interval too.
    """
    value = scores[name]
    if value is None:
        return f"undefined ({scores['undefined'][name]})" if with_interval else "undefined"
    if not with_interval:
        return f"{value:.4f}"
    interval = scores["intervals"][name]
    if interval is None:
        return f"{value:.4f} (no interval: {scores['undefined'][f'intervals.{name}']})"
    return f"{value:.4f} (95 % {interval[0]:.4f} to {interval[1]:.4f})"


def threshold_text(scores: dict[str, Any], findings: int) -> str:
    """Which threshold the decisions of all findings were made with, and what is best about it."""
    value = scores["threshold"]
    if value is None:
        return f"{scores['undefined']['threshold']}, of the largest recall + specificity on validation images"
    if value == UNDECIDED:
        return f"{value:.4f}, for validation images decided nothing"
    return f"{value:.4f}, the most accurate on validation images" if findings == 1 else f"{value:.4f} for every finding"


def decided(scores: dict[str, Any]) -> str:
    """A finding's threshold, and recall and specificity at it."""
    return f"{figure(scores, 'threshold')}: {figure(scores, 'recall')} / {figure(scores, 'specificity')}"


def several(scores: dict[str, Any], *names: str) -> str:
    """Several figures behind one another, and each reason once why one of them is undefined."""
    reasons = dict.fromkeys(scores["undefined"][name] for name in names if scores[name] is None)
    because = f" ({'; '.join(reasons)})" if reasons else ""
    return " / ".join(figure(scores, name) for name in names) + because


def test_rows(scores: dict[str, Any]) -> list[Row]:
    """What `simulate` shows of the pooled test images, of the hospitals' own, and of several findings."""
    pooled, hospitals, findings = scores["pooled"], scores["hospitals"], scores["findings"]
    rows = [
        ("Test images", f"{pooled['n']} of {pooled['patients']} patients"),
        ("Test AUC", figure(pooled, "auc", with_interval=True)),
        ("Test accuracy", figure(pooled, "accuracy", with_interval=True)),
        ("Precision / recall / F1", several(pooled, "precision", "recall", "f1")),
        ("Specificity / ECE / Brier", several(pooled, "specificity", "ece", "brier")),
        ("Threshold", threshold_text(pooled, len(findings))),
        ("AUC by hospital", _each(list(hospitals.values()))),
    ]
    if len(findings) > 1:
        rows.append(("AUC by finding", "\n".join(f"{name} {_area(found)}" for name, found in findings.items())))
        rows.append((DECIDED.capitalize(), "\n".join(f"{name} {decided(found)}" for name, found in findings.items())))
    return rows


def baseline_rows(baselines: dict[str, Any] | None) -> list[Row]:
    """Whether joining was worth it: the model beside each hospital's alone, and beside one of all images together."""
    if baselines is None:
        return []
    central, mean, spread = baselines["central"], baselines["local_mean"], baselines["local_range"]
    alone = ", ".join(
        f"{name} {mean[key]:.4f} ({spread[key][0]:.4f} to {spread[key][1]:.4f})" if spread[key] else f"{name} undefined"
        for key, name in (("auc", "AUC"), ("accuracy", "accuracy"))
    )
    together = (
        f"AUC {figure(central['scores'], 'auc')}, accuracy {figure(central['scores'], 'accuracy')}"
        if central and central["scores"]
        else "undefined"
    )
    gain = baselines["gain_auc"]
    worth = "undefined" if gain is None else f"{gain:+.4f} AUC over the mean hospital alone; "
    if gain is not None:
        worth += f"{baselines['hospitals_that_gain_auc']} of {len(baselines['local'])} hospitals gain"
    return [
        ("Each hospital alone", f"{alone}, mean and range"),
        ("All images in one place", f"{together}, impossible in practice"),
        ("Worth joining?", worth),
    ]


def _each(found: list[dict[str, Any]]) -> str:
    """Least and largest AUC, and of how many hospitals there is none."""
    areas = [scores["auc"] for scores in found if scores["auc"] is not None]
    missing = len(found) - len(areas)
    without = f"; {missing} without one (one class or no images)" if missing else ""
    return f"{min(areas):.4f} to {max(areas):.4f}{without}" if areas else f"undefined{without}"


def _area(scores: dict[str, Any]) -> str:
    """A finding's AUC in a list."""
    if scores["auc"] is None:
        return f"- ({scores['undefined']['auc']})"
    interval = scores["intervals"]["auc"]
    return f"{scores['auc']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
