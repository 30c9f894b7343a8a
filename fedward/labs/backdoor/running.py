"""Runs the lab's units in processes of their own, and keeps each one's results as soon as they are there."""

import functools
import json
import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedward.backdoor.detectors import configured_detectors
from fedward.dataset.storage import load_partition
from fedward.files import make_folder, parse_json, write_atomic
from fedward.labs.backdoor.federation import PlainFederation
from fedward.labs.backdoor.plan import Plan, Unit
from fedward.labs.backdoor.standing_files import load_standing, save_standing
from fedward.labs.backdoor.trial import NULL, Trial
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.progress import Progress
from fedward.settings import Settings, from_tables, to_tables

# One thread an operation: how many units run at a time then changes nothing in what they compute.
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class LabFolder:
    """The lab's folder: partitions and settings of each condition and seed, standings, results of units.

    Attributes:
        path: Where it is.
    """

    path: Path

    def data(self, condition: str, seed: int) -> Path:
        """Where the partitions and settings of a condition and seed lie."""
        return self.path / "data" / f"{condition}-{seed}"

    def standing(self, condition: str, seed: int) -> Path:
        """Where the standing lies from which attacks start."""
        return self.path / "standings" / f"{condition}-{seed}.npz"

    def result(self, unit: Unit) -> Path:
        """Where a unit's results lie."""
        return self.path / "units" / f"{unit.name}.json"

    def load_result(self, unit: Unit) -> list[dict[str, Any]] | None:
        """A unit's results, one a round; None before it was run."""
        path = self.result(unit)
        found: list[dict[str, Any]] | None = parse_json(path.read_bytes()) if path.exists() else None
        return found


def run_units(folder: LabFolder, plan: Plan, units: Iterable[Unit], report: Progress, processes: int = 0) -> None:
    """Run units that have no results yet.

    Args:
        folder: Partitions and settings lie there already.
        plan: How many rounds.
        units: Which; what they start from is there.
        report: Told after each unit.
        processes: How many at a time; 0: as many as there are cores.
    """
    wanted = list(units)
    missing = [unit for unit in wanted if folder.load_result(unit) is None]
    done = len(wanted) - len(missing)
    report(done, len(wanted))
    os.environ.update(_ONE_THREAD)
    workers = min(processes or os.cpu_count() or 1, max(1, len(missing)))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(run_unit, folder, plan, unit) for unit in missing]
        try:
            for finished in as_completed(running):
                finished.result()
                done += 1
                report(done, len(wanted))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_unit(folder: LabFolder, plan: Plan, unit: Unit) -> None:
    """Run one unit and keep its results."""
    trial = _trial(folder, unit.condition, unit.seed)
    path = folder.standing(unit.condition, unit.seed)
    if unit.attack is None:
        results, standings = trial.run(trial.start(), NULL, plan.clean_rounds, unit.defended)
        make_folder(path.parent)
        save_standing(path, standings[plan.warm_up - 1])
    else:
        results, _ = trial.run(load_standing(path), unit.attack, plan.attack_rounds, unit.defended)
    target = folder.result(unit)
    make_folder(target.parent)
    write_atomic(target, json.dumps([result.as_dict() for result in results], indent=1).encode())


@functools.lru_cache(maxsize=1)
def _trial(folder: LabFolder, condition: str, seed: int) -> Trial:
    """The federation of a condition and seed, kept for the process's next unit."""
    place = folder.data(condition, seed)
    settings = load_settings(place)
    partitions = [load_partition(path) for path in sorted(place.glob("hospital-*.npz"))]
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(partitions[0].findings))
    classifier = Classifier(spec, settings.training.seed, settings.model.weights)
    federation = PlainFederation(partitions, classifier, settings)
    return Trial(federation, classifier, configured_detectors(settings.detectors))


def save_settings(place: Path, settings: Settings) -> None:
    """Keep the settings of a condition and seed."""
    write_atomic(place / "settings.json", json.dumps(to_tables(settings), indent=1).encode())


def load_settings(place: Path) -> Settings:
    """The settings of a condition and seed."""
    tables: dict[str, dict[str, Any]] = parse_json((place / "settings.json").read_bytes())
    return from_tables(tables)


def results_of(folder: LabFolder, units: Iterable[Unit]) -> dict[Unit, Sequence[dict[str, Any]]]:
    """What came out of units, of those that were run."""
    return {unit: found for unit in units if (found := folder.load_result(unit)) is not None}
