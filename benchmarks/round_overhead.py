"""What a round of the secure federation costs over a round of plain Flower FedAvg.

Both train the same model on the same images, split in the same way over the same hospitals, on the same simulation
engine with the same settings, thread counts and poll interval. The plain one is Flower's own FedAvg strategy: weights
travel and are averaged in the clear, and validation of the new model is all that follows. The secure one is
`main.py simulate`: ledger, encryption, verification, detection and voting. Whole runs take turns.

A round lasts from the end of the round before it to its own end, as the server reports it. `ratio_wall` compares the
medians over all rounds but each run's first; in the first, processes start and TensorFlow traces the model, and it is
reported apart, from the start of Flower on.
Run: .venv/bin/python benchmarks/round_overhead.py [--json]; images from FEDWARD_DATA, default ../shared/data
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from commands.simulate.simulation import simulate_new
from fedward import settings as setting
from fedward.files import read_lines
from fedward.flower import FlowerSimulation, stage_app
from fedward.folders.simulation import SimulationFolder
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.settings import Settings

HERE = Path(__file__).resolve().parent
LOOK_S = 0.01  # how often the progress file is looked at
STAGED = {"client.py": "plain_client.py", "server.py": "plain_server.py"}


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", default=str(Path(os.environ.get("FEDWARD_DATA", "../shared/data")) / "chest_xray"))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--local-epochs", type=int, default=2)
    arguments = parser.parse_args()
    settings = setting.load(
        None,
        ("data.source", str(Path(arguments.data).resolve())),
        ("training.rounds", arguments.rounds),
        ("training.local-epochs", arguments.local_epochs),
    )
    seconds: dict[str, list[list[float]]] = {"secure": [], "plain": []}
    stages: list[Mapping[str, float]] = []
    for _ in range(arguments.turns):
        with tempfile.TemporaryDirectory() as folder:
            secure, plain = SimulationFolder(Path(folder) / "secure"), SimulationFolder(Path(folder) / "plain")
            seconds["secure"].append(timed_rounds(secure, lambda run=secure: simulate_new(run.path, settings)))
            stages += [line["timing_s"] for line in secure.server.rounds()[1:]]
            seconds["plain"].append(timed_rounds(plain, lambda run=plain, of=secure: run_plain(run, of, settings)))
    report(settings, seconds, stages, as_json=arguments.json)


def report(
    settings: Settings,
    seconds: Mapping[str, Sequence[Sequence[float]]],
    stages: Sequence[Mapping[str, float]],
    *,
    as_json: bool,
) -> None:
    """Print what was measured.

    Args:
        settings: The settings of all runs.
        seconds: By kind, for each run the seconds of each round.
        stages: Of each later secure round, seconds by stage, summed over hospitals that work at the same time.
        as_json: JSON instead of a table.
    """
    first = {kind: statistics.median(run[0] for run in runs) for kind, runs in seconds.items()}
    later = {kind: statistics.median(value for run in runs for value in run[1:]) for kind, runs in seconds.items()}
    names = sorted({name for stage in stages for name in stage})
    by_stage = {name: statistics.median(stage.get(name, 0.0) for stage in stages) for name in names}
    result: dict[str, Any] = {
        "hospitals": settings.data.hospitals,
        "local_epochs": settings.training.local_epochs,
        "rounds": seconds,
        "first_round_s": first,
        "round_s": later,
        "ratio_wall": later["secure"] / later["plain"],
        "secure_stages_s": by_stage,
    }
    if as_json:
        print(json.dumps(result, indent=2))
        return
    print("| federation | a round, s | first round with start-up, s |\n|---|---|---|")
    for kind in seconds:
        print(f"| {kind} | {later[kind]:.2f} | {first[kind]:.2f} |")
    print(f"\nA secure round takes {result['ratio_wall']:.2f} times as long as a plain one.")
    print("Its stages, seconds summed over hospitals: " + ", ".join(f"{k} {v:.2f}" for k, v in by_stage.items()))


def timed_rounds(run: SimulationFolder, work: Callable[[], object]) -> list[float]:
    """Do the work, and note when each round ends; the first round is timed from when Flower's log appears."""
    marks: list[float] = []
    done = threading.Event()
    watcher = threading.Thread(target=_note_rounds, args=(run, marks, done), daemon=True)
    watcher.start()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            work()
    finally:
        done.set()
        watcher.join()
    return [end - begin for begin, end in itertools.pairwise(marks)]


def _note_rounds(run: SimulationFolder, marks: list[float], done: threading.Event) -> None:
    """Append the moment at which Flower starts, and then that of each round's end."""
    log = run.path / "flower.log"
    while not done.wait(LOOK_S):
        if not marks and log.exists():
            marks.append(time.monotonic())
        closed = sum(json.loads(line)["event"] == "closed" for line in read_lines(run.server.progress))
        marks += [time.monotonic()] * (closed + 1 - len(marks)) if marks else []


def run_plain(run: SimulationFolder, secure: SimulationFolder, settings: Settings) -> None:
    """Plain FedAvg on the images that the secure run's hospitals hold, from the same initial weights."""
    SimulationFolder.create(run.path)
    findings = secure.server.load_record().findings
    for hospital in sorted(secure.hospitals.glob("hospital-*")):
        (run.hospitals / hospital.name).mkdir()
        shutil.copyfile(hospital / "partition.npz", run.hospitals / hospital.name / "partition.npz")
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(findings))
    np.save(
        run.server.path / "initial.npy", Classifier(spec, settings.training.seed, settings.model.weights).get_weights()
    )
    settings = setting.replace(settings, "run.folder", str(run.server.path))
    with _home() as home:
        flower = FlowerSimulation.start(home, settings, run.hospitals, run.path / "flower.log", _stage_plain)
        try:
            _wait(run, flower)
        finally:
            flower.stop()


def _stage_plain(target: Path) -> None:
    """Stage the app with the server and the hospitals of plain FedAvg in place of ours."""
    stage_app(target)
    for name, source in STAGED.items():
        shutil.copyfile(HERE / source, target / name)


def _wait(run: SimulationFolder, flower: FlowerSimulation) -> None:
    """Wait until the server has finished; fail when Flower ends before."""
    while not any(json.loads(line)["event"] == "finished" for line in read_lines(run.server.progress)):
        if not flower.running():
            time.sleep(5)
            if not any(json.loads(line)["event"] == "finished" for line in read_lines(run.server.progress)):
                raise SystemExit(f"Plain FedAvg failed:\n{flower.log.read_text()[-4000:]}")
        time.sleep(LOOK_S)


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A short path for Flower's and Ray's sockets."""
    home = Path(tempfile.mkdtemp(prefix="fedward-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
