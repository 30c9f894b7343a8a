"""`simulate --baselines`: each hospital trained alone, and one model on all images in one place, beside the run.

Both are trained after the last round, under the federation's settings and privacy budget, and scored on the same test
images. What they release is no part of the run: the run's epsilon does not count it. The record of studies on the same
images does.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from blockchain.own_images import load_images
from commands import console
from commands.simulate.alone import train_alone
from commands.simulate.pooling import pooled
from commands.simulate.study_budget import charge_baseline
from fedward.checked_json import read_json, to_json
from fedward.errors import BudgetError, DataError, FedwardError
from fedward.figures.histograms import histogram
from fedward.figures.scores import Scores, score
from fedward.files import write_atomic
from fedward.folders.simulation import SimulationFolder
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.progress import Progress
from fedward.settings import Settings
from fedward.types import ImageSet, Partition, Vector

FILE = "baselines.json"
CENTRAL = "central"
COMPARED = ("auc", "accuracy")


def ask_for(folder: SimulationFolder) -> None:
    """Note in the run folder that baselines are wanted, so that a resumed run trains them too."""
    if not (folder.path / FILE).exists():
        _save(folder, {})


def finish(folder: SimulationFolder, settings: Settings) -> None:
    """Train the wanted baselines that are not finished yet; each is saved as soon as it is finished.

    Raises:
        EvidenceError: the file of baselines is damaged.
    """
    if not (folder.path / FILE).exists():
        return
    found, record = _load(folder), folder.server.load_record()
    folders = [folder.hospital(member.hospital) for member in record.roster]
    partitions = [load_images(hospital, settings.image_encryption) for hospital in folders]
    wanted = {partition.hospital: [partition] for partition in partitions} | {CENTRAL: partitions}
    missing = [name for name in wanted if name not in found]
    if not missing:
        return
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(record.findings))
    classifier = Classifier(spec, settings.training.seed, settings.model.weights)
    initial, test = classifier.get_weights(), ImageSet.joined([partition.test for partition in partitions])
    rounds = settings.training.rounds
    with console.bar("Baselines") as report:
        for place, name in enumerate(missing):
            progress = _Shifted(report, place * rounds, len(missing) * rounds)
            try:
                charge_baseline(folder, name, [partition.hospital for partition in wanted[name]], settings)
            except BudgetError as error:
                found[name] = _nothing(pooled(wanted[name], name), error)
            else:
                found[name] = _measure(pooled(wanted[name], name), initial, test, classifier, settings, progress)
            _save(folder, found)


def summarize(folder: SimulationFolder, federation: dict[str, Any]) -> dict[str, Any] | None:
    """What `summary.json` holds of the baselines; None where none were wanted.

    Args:
        folder: The run's folder.
        federation: Figures of the federation's model on the same test images.

    Raises:
        EvidenceError: the file of baselines is damaged.
    """
    if not (folder.path / FILE).exists():
        return None
    found = _load(folder)
    local = {name: result for name, result in found.items() if name != CENTRAL}
    means = {figure: _spread([_figure(result, figure) for result in local.values()]) for figure in COMPARED}
    joined, areas = federation["auc"], [_figure(result, "auc") for result in local.values()]
    return {
        "local": local,
        "local_mean": {figure: spread["mean"] for figure, spread in means.items()},
        "local_range": {figure: spread["range"] for figure, spread in means.items()},
        "central": found.get(CENTRAL),
        "central_is": "impossible in practice: it needs all hospitals' images in one place",
        **{f"gain_{figure}": _gain(federation[figure], spread["mean"]) for figure, spread in means.items()},
        "hospitals_that_gain_auc": (
            sum(area is not None and joined > area for area in areas) if joined is not None else None
        ),
    }


@dataclass(frozen=True)
class _Baseline:
    """A finished baseline, as the file holds it."""

    train_n: int
    scores: Scores | None
    reason: str | None
    seconds: float | None


class _Shifted:
    """Reports the rounds of one baseline as part of the progress of all baselines."""

    def __init__(self, report: Progress, before: int, total: int) -> None:
        self._report, self._done, self._total = report, before, total
        report(before, total)

    def __call__(self) -> None:
        self._done += 1
        self._report(self._done, self._total)


def _measure(
    partition: Partition, initial: Vector, test: ImageSet, classifier: Classifier, settings: Settings, step: _Shifted
) -> dict[str, Any]:
    """Train one baseline and score it, at the thresholds that its own validation images give."""
    started = time.perf_counter()
    try:
        classifier.set_weights(train_alone(partition, initial, classifier, settings, step))
        thresholds = histogram(classifier.logits(partition.val.pixels()), partition.val.labels).thresholds()
        scores = score(test, classifier.logits(test.pixels()), thresholds).as_dict()
        result = {"train_n": len(partition.train), "scores": scores, "reason": None}
    except DataError as error:
        result = _nothing(partition, error)
    return result | {"seconds": round(time.perf_counter() - started, 3)}


def _nothing(partition: Partition, error: FedwardError) -> dict[str, Any]:
    """A baseline that cannot be trained, with the reason, which is said too."""
    console.warn(f"No baseline of {partition.hospital}. {error}")
    return {"train_n": len(partition.train), "scores": None, "reason": str(error), "seconds": None}


def _figure(result: dict[str, Any], name: str) -> float | None:
    value: float | None = result["scores"][name] if result["scores"] else None
    return value


def _gain(joined: float | None, alone: float | None) -> float | None:
    return None if joined is None or alone is None else joined - alone


def _spread(values: list[float | None]) -> dict[str, Any]:
    """Mean, least and largest of the values that are not None."""
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "range": [min(known), max(known)] if known else None,
    }


def _load(folder: SimulationFolder) -> dict[str, Any]:
    """Finished baselines by name."""
    remedy = "Delete it and ask for --baselines again."
    found = read_json(dict[str, _Baseline], folder.path / FILE, "The file of baselines", remedy)
    return dict(to_json(found))


def _save(folder: SimulationFolder, found: dict[str, Any]) -> None:
    write_atomic(folder.path / FILE, json.dumps(found, indent=2).encode())
