"""What rounding to whole numbers costs: federated averaging of quantized updates beside that of the updates themselves.

For every seed each way trains its own federation from the same initial weights, on the same images, in the same order;
they differ only in how updates are averaged. `plain` is the weighted mean in double precision. The presets quantize,
add whole numbers and divide, as hospitals and server do; encryption is left out, since sums come back exactly. A
difference is paired: a way's test AUC minus plain's at the same seed, in points (hundredths of AUC).
Run: .venv/bin/python benchmarks/quantization.py [--model cnn] [--json]; images from FEDWARD_DATA
"""

import argparse
import json
import os
import secrets
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from commands.simulate.pooling import pooled
from data_preprocessing import preprocess
from fedward import settings as setting
from fedward.ciphertexts.aggregation import aggregate_plain, apply_update
from fedward.ciphertexts.packing import dequantize, quantize, round_plan
from fedward.figures.evaluation import evaluate
from fedward.learning.model import Classifier
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.seeding import public_rng
from fedward.settings import Settings
from fedward.types import GlobalModel, Partition, Vector

PRESETS = ("exact", "small")


@dataclass(frozen=True)
class Trained:
    """A federation's last model: AUC on the pooled test split, weights, and coordinates that were cut on the way."""

    auc: float
    weights: Vector
    saturated: int


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", default=str(Path(os.environ.get("FEDWARD_DATA", "../shared/data")) / "chest_xray"))
    parser.add_argument("--model", choices=("scatter", "cnn"), default="scatter")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    found: dict[str, list[Trained]] = {name: [] for name in ("plain", *PRESETS)}
    for seed in range(1, arguments.seeds + 1):
        settings = configured(arguments, seed)
        key = secrets.token_bytes(16)  # of pseudonyms, which are not looked at here
        partitions = preprocess(settings.data, seed, key).partitions
        for name in found:
            found[name].append(federate(settings, partitions, name))
            print(f"seed {seed}, {name}: AUC {found[name][-1].auc:.5f}", file=sys.stderr)
    rows = [summarize(name, measured, found["plain"]) for name, measured in found.items()]
    if arguments.json:
        print(json.dumps({"model": arguments.model, "rounds": arguments.rounds, "rows": rows}))
    else:
        print_table(rows, arguments)


def configured(arguments: argparse.Namespace, seed: int) -> Settings:
    """Five hospitals, two local epochs, no privacy: nothing but the averaging blurs an update."""
    preset = "scatter.toml" if arguments.model == "scatter" else "quick.toml"
    return setting.load(
        setting.PROJECT_FILE.parent / "config" / preset,
        ("data.source", str(Path(arguments.data).resolve())),
        ("data.hospitals", 5),
        ("model.name", arguments.model),
        ("training.seed", seed),
        ("training.rounds", arguments.rounds),
        ("training.local-epochs", 2),
        ("privacy.mode", "none"),
    )


def federate(settings: Settings, partitions: Sequence[Partition], way: str) -> Trained:
    """Train a federation whose updates are averaged in one of the ways."""
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(partitions[0].findings))
    classifier = Classifier(spec, settings.training.seed)
    weights, saturated = classifier.get_weights(), 0
    shares = [len(partition.train) for partition in partitions]
    for index in range(1, settings.training.rounds + 1):
        model = GlobalModel(weights, b"")
        deltas = [train(partition, model, classifier, settings.training, index).delta for partition in partitions]
        if way == "plain":
            mean = np.average(np.stack(deltas).astype(np.float64), axis=0, weights=shares)
        else:
            mean, cut = quantized_mean(setting.replace(settings, "encryption.preset", way), deltas, shares, index)
            saturated += cut
        weights = apply_update(weights, mean)
    classifier.set_weights(weights)
    test = pooled(list(partitions), "all").test
    auc = evaluate(test, classifier.logits(test.pixels()), 0.5).auc
    return Trained(float("nan") if auc is None else auc, weights, saturated)


def quantized_mean(
    settings: Settings, deltas: Sequence[Vector], shares: Sequence[int], round_index: int
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], int]:
    """The mean that hospitals read out of a sum of whole numbers, and how many coordinates were cut on the way."""
    plan, total = round_plan(len(deltas[0]), len(deltas), settings), sum(shares)
    rounding = public_rng("round", settings.training.seed, "benchmark", round_index)
    parts = [quantize(delta, share, total, plan, rounding) for delta, share in zip(deltas, shares, strict=True)]
    sums = aggregate_plain([part.values for part in parts])
    return dequantize(sums, plan, total, total), sum(part.saturated for part in parts)


def summarize(name: str, measured: Sequence[Trained], plain: Sequence[Trained]) -> dict[str, Any]:
    """A row: figures over seeds, differences in points of AUC."""
    pairs = list(zip(measured, plain, strict=True))
    points = [100 * (own.auc - other.auc) for own, other in pairs]
    return {
        "name": name,
        "auc": statistics.median(each.auc for each in measured),
        "mean_difference": statistics.fmean(points),
        "largest_difference": max(points, key=abs),
        "largest_weight_difference": max(float(np.abs(own.weights - other.weights).max()) for own, other in pairs),
        "saturated": sum(each.saturated for each in measured),
    }


def print_table(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Markdown, as the documents have it."""
    print(f"{arguments.model}, five hospitals, {arguments.rounds} rounds, {arguments.seeds} seeds\n")
    print(
        "| averaging | median AUC | mean difference, points | largest, points | largest of a weight | coordinates cut |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows:
        figures = f"{row['mean_difference']:+.4f} | {row['largest_difference']:+.4f}"
        cut = f"{row['largest_weight_difference']:.1e} | {row['saturated']:,}"
        print(f"| {row['name']} | {row['auc']:.5f} | {figures} | {cut} |")


if __name__ == "__main__":
    main()
