"""Runs a lab's units in processes of their own, and keeps each one's results as soon as they are there.

So an interrupted lab goes on where it was.
"""

import functools
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fedward.errors import ResourceError
from fedward.files import make_folder, parse_json, write_atomic
from fedward.progress import Progress

# One thread an operation: how many units run at a time then changes nothing in what they compute.
_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


class LabUnit(Protocol):
    """One piece of a lab's work, whose results are kept by themselves."""

    @property
    def name(self) -> str:
        """Names the unit's file."""
        ...


Unit = TypeVar("Unit", bound=LabUnit)


@dataclass(frozen=True)
class Results:
    """What units found, one JSON file each.

    Attributes:
        path: Their folder.
    """

    path: Path

    def of(self, unit: LabUnit) -> Any | None:
        """What a unit found; None before it was run."""
        path = self._file(unit)
        return parse_json(path.read_bytes()) if path.exists() else None

    def keep(self, unit: LabUnit, found: Any) -> None:
        """Write down what a unit found."""
        make_folder(self.path)
        write_atomic(self._file(unit), json.dumps(found, indent=1).encode())

    def _file(self, unit: LabUnit) -> Path:
        return self.path / f"{unit.name}.json"


def run_units(
    results: Results, units: Iterable[Unit], run: Callable[[Unit], Any], report: Progress, processes: int = 0
) -> None:
    """Run units that have no results yet.

    Args:
        results: Where they are kept.
        units: Which; what they start from is there.
        run: Gives what a unit finds, as JSON has it; travels to other processes.
        report: Told after each unit.
        processes: How many at a time; 0: as many as there are cores.

    Raises:
        ResourceError: one of the processes was killed.
    """
    wanted = list(units)
    missing = [unit for unit in wanted if results.of(unit) is None]
    done = len(wanted) - len(missing)
    report(done, len(wanted))
    os.environ.update(_ONE_THREAD)
    workers = min(processes or os.cpu_count() or 1, max(1, len(missing)))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(functools.partial(_run_one, results, run), unit) for unit in missing]
        try:
            for finished in as_completed(running):
                finished.result()
                done += 1
                report(done, len(wanted))
        except BrokenProcessPool as error:
            raise ResourceError(
                f"A process of the lab was killed, most often because memory ran out ({workers} ran at a time).",
                "Free memory and start the lab again: it goes on with what is missing.",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def results_of(results: Results, units: Iterable[Unit]) -> dict[Unit, Any]:
    """What came of units, of those that were run."""
    return {unit: found for unit in units if (found := results.of(unit)) is not None}


def _run_one(results: Results, run: Callable[[Unit], Any], unit: Unit) -> None:
    results.keep(unit, run(unit))
