"""Pictures of a finished run: its learning curves, and its model's decisions, ROC curve and calibration on test images.

Colors are those of Okabe and Ito 2008, which color-blind readers tell apart; no picture needs color to be read.
"""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from fedward.figures.histograms import called_positive, sigmoid
from fedward.figures.intervals import groups_of
from fedward.figures.scores import Confusion, Scores, reliability
from fedward.files import write_atomic
from fedward.seeding import public_rng
from fedward.types import ImageSet, Vector

mpl.use("Agg")
mpl.rcParams["text.parse_math"] = False  # names from data stay as they are: "$" begins no formula

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
STYLES = ("-", "--", ":", "-.")
BOOTSTRAP_DRAWS = 500
CURVE_POINTS = 201  # false positive rates at which the band is drawn
MOST_LINES = 50  # of rejected rounds; more have marks at the axis
MOST_LABELLED = 14  # findings that a legend can name


def plot_all(
    folder: Path,
    images: ImageSet,
    logits: Vector,
    scores: Scores,
    findings: tuple[str, ...],
    thresholds: tuple[float, ...],
) -> None:
    """Draw `confusion_matrix.png`, `roc.png` and `reliability.png`.

    Args:
        folder: Where to.
        images: The test images, at least one.
        logits: float32, shape (n, findings).
        scores: Their figures.
        findings: Names of the findings.
        thresholds: The threshold of each finding.
    """
    plot_confusion(folder / "confusion_matrix.png", scores.confusion, scores.threshold, findings)
    plot_roc(folder / "roc.png", images, logits, findings, thresholds)
    estimated = sigmoid(logits).astype(np.float64)
    plot_reliability(folder / "reliability.png", estimated, images.labels == 1, scores.ece, findings)


def plot_learning_curves(path: Path, rounds: list[dict[str, Any]], findings: tuple[str, ...]) -> None:
    """Write the learning curves as a PNG."""
    save_figure(path, learning_curves(rounds, findings))


def learning_curves(rounds: list[dict[str, Any]], findings: tuple[str, ...]) -> Figure:
    """Draw training and validation loss, and validation AUC, by round; rejected candidates are marked."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(_positive(findings), fontsize=9)
    loss_axes, auc_axes = figure.subplots(1, 2)
    _draw(loss_axes, rounds, "train_loss", "training, mean of hospitals", (ORANGE, "s", "--"))
    _draw(loss_axes, rounds, "val_loss", "validation, pooled", (BLUE, "o", "-"))
    _draw(auc_axes, rounds, "val_auc", "validation, pooled", (BLUE, "o", "-"))
    for axes, title, unit in (
        (loss_axes, "Cross-entropy", "Loss (nats an image and finding)"),
        (auc_axes, "AUC", "AUC (0.5 is chance, 1 is faultless)"),
    ):
        rejected = [entry["round"] for entry in rounds if entry["phase"] == "rejected"]
        _mark(axes, rejected)
        axes.set_title(title)
        axes.set_xlabel("Round")
        axes.set_ylabel(unit)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return figure


def plot_confusion(path: Path, confusion: Confusion, threshold: float | None, findings: tuple[str, ...]) -> None:
    """Decisions against the truth, with each row's shares; threshold None: each finding has its own."""
    counts = np.array(
        [
            [confusion.true_negatives, confusion.false_positives],
            [confusion.false_negatives, confusion.true_positives],
        ]
    )
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    unit = "images" if len(findings) == 1 else f"(image, finding) pairs of {len(findings)} findings"
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            ink = "white" if shares[row, column] > 0.55 else "black"
            text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}" if totals[row] else "0"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=13)
    name = findings[0] if len(findings) == 1 else "finding"
    names = (f"without {name}", f"with {name}")
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names, rotation=90, va="center")
    rule = "at each finding's threshold" if threshold is None else f"score from {threshold:.3f} on is positive"
    axes.set_xlabel(f"Called by the model ({rule})")
    axes.set_ylabel("Truth by the labels")
    axes.set_title(f"Test split: {unit}\n{_positive(findings)}", fontsize=11)
    figure.colorbar(picture, ax=axes, label="Share of the row")
    save_figure(path, figure)


def plot_roc(
    path: Path, images: ImageSet, logits: Vector, findings: tuple[str, ...], thresholds: tuple[float, ...]
) -> None:
    """ROC curve: with one finding with its band, with several one each and their mean; a dot at each threshold."""
    figure = Figure(figsize=(5.6, 5.2) if len(findings) == 1 else (8.4, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="chance")
    grid = np.linspace(0, 1, CURVE_POINTS)
    defined = [k for k in range(len(findings)) if 0 < images.labels[:, k].sum() < len(images)]
    curves = {k: _curve(images.labels[:, k], logits[:, k]) for k in defined}
    if len(findings) == 1 and defined:
        low, high = roc_band(images, logits[:, 0], grid)
        axes.fill_between(grid, low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 % by patients")
        axes.plot(*curves[0], color=BLUE, label=findings[0])
    for place, k in enumerate(defined if len(findings) > 1 else ()):
        color, style = (BLUE, ORANGE, GREEN, PINK)[place % 4], STYLES[place // 4 % 4]
        label = findings[k] if place < MOST_LABELLED else None
        axes.plot(*curves[k], color=color, linestyle=style, linewidth=0.9, alpha=0.8, label=label)
    if len(findings) > 1 and defined:
        mean = np.mean([np.interp(grid, *curve) for curve in curves.values()], axis=0)
        axes.plot(grid, mean, color="black", linewidth=2.2, label="mean of the findings")
    if defined:
        called, truth = called_positive(sigmoid(logits), thresholds), images.labels == 1
        false, true = ([called[truth[:, k] == kind, k].mean() for k in defined] for kind in (False, True))
        dots = "the threshold" if len(findings) == 1 else "their thresholds"
        axes.plot(false, true, linestyle="none", marker="o", markersize=5, color="black", mfc="white", label=dots)
    axes.set_xlabel("False positive rate (1 - specificity)")
    axes.set_ylabel("True positive rate (recall, sensitivity)")
    title = "ROC on the test split" if defined else "No ROC curve: all test images are of one class"
    axes.set_title(f"{title}\n{_positive(findings)}", fontsize=11)
    axes.set_aspect("equal")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.grid(alpha=0.3)
    if len(findings) == 1:
        axes.legend(loc="lower right")
    else:
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    save_figure(path, figure)


def roc_band(
    images: ImageSet, logits: NDArray[np.float32], grid: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The middle 95 % of the true positive rates of models scored on patients drawn anew (bootstrap over patients).

    Args:
        images: One finding, both classes.
        logits: float32, shape (n,).
        grid: False positive rates.

    Returns:
        Lower and upper end at each rate of the grid. The same images give the same band, whatever the patients' names.
    """
    groups, rng = groups_of(images.patients), public_rng("roc-band", len(images))
    patients = int(groups.max()) + 1
    positive, drawn = images.labels[:, 0] == 1, []
    for _ in range(BOOTSTRAP_DRAWS):
        weights = np.bincount(rng.integers(0, patients, patients), minlength=patients)[groups].astype(np.float64)
        if weights[positive].any() and weights[~positive].any():
            drawn.append(np.interp(grid, *_curve(images.labels[:, 0], logits, weights)))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return low, high


def plot_reliability(
    path: Path,
    scores: NDArray[np.float64],
    truth: NDArray[np.bool_],
    error: float | None,
    findings: tuple[str, ...],
) -> None:
    """Share of positives by score, over how many images have such a score.

    Args:
        path: Where to.
        scores: float64 in [0, 1], shape (n, findings).
        truth: Same shape.
        error: The expected calibration error to print; of several findings their mean, while bins pool all pairs.
        findings: Their names.
    """
    figure = Figure(figsize=(5.6, 5.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    _, mean_scores, shares, counts = reliability(scores.ravel(), truth.ravel())
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="perfectly calibrated")
    upper.plot(mean_scores, shares, color=BLUE, marker="o", linewidth=1.2, label="model")
    upper.set_ylabel("Share that has the finding")
    upper.set_ylim(-0.03, 1.03)
    alone = scores.shape[1] == 1
    # Of pooled bins it cannot be read off the curve: findings that are too high and too low make up for each other.
    figure_name = "ECE" if alone else "mean ECE of the findings"
    printed = f" ({figure_name} {error:.3f})" if error is not None else ""
    upper.set_title(f"Calibration on the test split{printed}\n{_positive(findings)}", fontsize=11)
    upper.legend(loc="upper left")
    unit = "images" if alone else "(image, finding) pairs"
    lower.bar(mean_scores, counts, width=0.03, color=ORANGE)
    lower.set_ylabel(f"Number of\n{unit}")
    lower.set_xlabel("Mean score of the bin (probability, 0 to 1)")
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.7)
    for axes in (upper, lower):
        axes.set_xlim(-0.03, 1.03)
        axes.grid(alpha=0.3)
    save_figure(path, figure)


def _positive(findings: tuple[str, ...]) -> str:
    """Which class counts as found, to stand below a title."""
    return f"positive: {findings[0]}" if len(findings) == 1 else f"positive: each of {len(findings)} findings"


def _draw(axes: Any, rounds: list[dict[str, Any]], key: str, label: str, look: tuple[str, str, str]) -> None:
    """Draw one figure of every round that has it; look: color, marker, line."""
    color, marker, line = look
    points = [(entry["round"], entry[key]) for entry in rounds if entry[key] is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=color, marker=marker, linestyle=line, markersize=3, label=label)


def _mark(axes: Any, rejected: list[int]) -> None:
    """Mark rejected rounds: each over the whole height, or at the axis where lines would hide the curves."""
    if len(rejected) > MOST_LINES:
        foot = [0.02] * len(rejected)
        across = axes.get_xaxis_transform()
        axes.plot(rejected, foot, "|", color="black", alpha=0.5, transform=across, label="rejected")
        return
    for index in rejected:
        axes.axvline(index, color="black", linestyle=":", alpha=0.5, label="rejected" if index == rejected[0] else None)


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG, whole or not at all."""
    write_atomic(path, as_png(figure))


def as_png(figure: Figure) -> bytes:
    """A figure as a PNG."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if "log" in axis.get_scale()):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))  # a power of ten would be a formula
        axis.set_minor_formatter(NullFormatter())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _curve(labels: Any, logits: Any, weights: Any = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates, both ascending."""
    false, true, _ = roc_curve(labels, logits, sample_weight=weights)
    return false, true
