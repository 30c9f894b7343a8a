"""Compares settings of private training on validation images, to choose presets without using the test split.

Each way is a federation in one process: hospitals train with DP-SGD as in a run, and their updates are averaged
plainly; encryption, ledger and votes are left out. Figures are means over seeds, on the pooled validation images: AUC,
accuracy at the most accurate threshold, the largest coordinate of an update (`encryption.value-range` should be above
it), the largest rise of a hospital's validation loss from one round to the next, as votes look at it
(`detectors.validation-loss.tolerance`), and, where the model's inputs are features, what all training images have in
common: the squared length of their mean.
Run: .venv/bin/python benchmarks/choosing.py [--config FILE] [--try "KEY=VALUE KEY=VALUE"]... [--uncentered] [--json]
Images come from FEDWARD_DATA, default ../shared/data.
"""

import argparse
import json
import os
import secrets
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from commands.simulate.pooling import pooled
from data_preprocessing import preprocess
from fedward import settings as setting
from fedward.backdoor.validation_loss import balanced_mean, loss_rises
from fedward.ciphertexts.aggregation import apply_update
from fedward.figures.evaluation import evaluate
from fedward.figures.histograms import histogram
from fedward.learning import scattering
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.local_update import local_update
from fedward.privacy.accounting import calibrated, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.settings import Settings
from fedward.tables import parse_assignment
from fedward.types import GlobalModel, ImageSet, Partition, Vector

MEANS, LARGEST = ("auc", "accuracy", "loss", "common"), ("largest_update", "largest_rise")


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--config", type=Path, default=setting.PROJECT_FILE.parent / "config" / "privacy-eps3.toml")
    parser.add_argument("--try", dest="ways", action="append", metavar="KEYS", help='"table.key=value ...", repeatable')
    parser.add_argument("--seeds", default="11,12,13", help="others than those that results are reported for")
    parser.add_argument("--uncentered", action="store_true", help="scatter without its center (docs/adr/0016)")
    arguments = parser.parse_args()
    if arguments.uncentered:
        scattering.phantom_center = lambda size: np.zeros(scattering.feature_count(size), np.float32)  # type: ignore[assignment]
    data = Path(os.environ.get("FEDWARD_DATA", setting.PROJECT_FILE.parent.parent / "shared" / "data")) / "chest_xray"
    seeds, rows = [int(seed) for seed in arguments.seeds.split(",")], []
    for way in arguments.ways or [""]:
        given = [parse_assignment(text) for text in way.split()]
        loaded = setting.load(arguments.config, ("data.source", str(data.resolve())), *given)
        settings = suited(calibrated(loaded))
        found = [federate(setting.replace(settings, "training.seed", seed)) for seed in seeds]
        rows.append({"tried": way or "as it stands"} | summarize(found) | {"epsilon": spent(settings)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"rows": rows}, indent=2) if arguments.json else table(rows, seeds))


def suited(settings: Settings) -> Settings:
    """The settings, if this benchmark can follow them.

    Raises:
        SystemExit: they ask for something that this benchmark would silently leave out.
    """
    if settings.privacy.mode != "sample" or settings.server_optimizer.name != "none":
        raise SystemExit(
            f"This trains with privacy.mode sample and plain averaging, not with {settings.privacy.mode} and "
            f"server-optimizer.name {settings.server_optimizer.name}. "
            "For other ways, compare whole runs of main.py simulate by their validation figures."
        )
    return settings


def spent(settings: Settings) -> float | None:
    """The epsilon of all rounds."""
    return epsilon([expected_event(settings.privacy)] * settings.training.rounds)


def federate(settings: Settings) -> dict[str, float]:
    """Train one federation; the figures of its last model, and the largest update and rise on the way."""
    partitions = preprocess(settings.data, settings.training.seed, secrets.token_bytes(16)).partitions
    classifier = Classifier(ModelSpec(settings.model.name, settings.data.image_size, 1), settings.training.seed)
    everybody, weights = pooled(list(partitions), "all").val, classifier.get_weights()
    shares = [len(partition.train) for partition in partitions]
    largest = rise = 0.0
    for round_index in range(1, settings.training.rounds + 1):
        before = validation_logits(partitions, weights, classifier)
        updates = train_all(partitions, weights, classifier, settings, round_index)
        largest = max(largest, float(np.abs(updates).max()))
        weights = apply_update(weights, np.average(updates.astype(np.float64), axis=0, weights=shares))
        after = validation_logits(partitions, weights, classifier)
        for old, new, partition in zip(before, after, partitions, strict=True):
            labels = partition.val.labels
            rise = max(rise, balanced_mean(loss_rises(old, new, labels), labels)[0])
    classifier.set_weights(weights)
    counts = histogram(classifier.logits(everybody.pixels()), everybody.labels)
    metrics = evaluate(everybody, classifier.logits(everybody.pixels()), counts.thresholds())
    return {
        "auc": float("nan") if metrics.auc is None else metrics.auc,
        "accuracy": float("nan") if metrics.accuracy is None else metrics.accuracy,
        "loss": counts.loss_sum / counts.n,
        "common": common_part(pooled(list(partitions), "all").train, classifier),
        "largest_update": largest,
        "largest_rise": rise,
    }


def validation_logits(partitions: Sequence[Partition], weights: Vector, classifier: Classifier) -> list[Vector]:
    """The logits of each hospital's validation images."""
    classifier.set_weights(weights)
    return [classifier.logits(partition.val.pixels()) for partition in partitions]


def common_part(images: ImageSet, classifier: Classifier) -> float:
    """Squared length of the mean of the images' features, each of which has length 1."""
    prepared = classifier.prepare(images.pixels())
    return float(np.square(prepared.mean(axis=0, dtype=np.float64)).sum()) if prepared.ndim == 2 else float("nan")


def train_all(
    partitions: Sequence[Partition], weights: Vector, classifier: Classifier, settings: Settings, round_index: int
) -> Vector:
    """One round of local training: float32, shape (hospitals, parameters)."""
    model = GlobalModel(weights, b"")
    return np.stack([local_update(each, model, classifier, settings, round_index).delta for each in partitions])


def summarize(found: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means over seeds; for the largest update and the largest rise, the maximum over seeds."""
    means = {name: statistics.fmean(each[name] for each in found) for name in MEANS}
    return means | {name: max(each[name] for each in found) for name in LARGEST}


def table(rows: Sequence[dict[str, Any]], seeds: Sequence[int]) -> str:
    """A table in Markdown, as the documents have it."""
    lines = [
        "| tried | epsilon | AUC | accuracy | loss | largest update | largest rise | in common |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = f"{row['auc']:.4f} | {row['accuracy']:.4f} | {row['loss']:.3f}"
        extremes = f"{row['largest_update']:.1f} | {row['largest_rise']:.2f} | {row['common']:.2f}"
        lines.append(f"| {row['tried']} | {row['epsilon']:.2f} | {figures} | {extremes} |")
    return "\n".join([*lines, "", f"Pooled validation images; means over the seeds {', '.join(map(str, seeds))}."])


if __name__ == "__main__":
    main()
