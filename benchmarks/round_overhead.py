"""What a round of the secure federation costs over a round of plain Flower FedAvg.

Both train the same model on the same images, split in the same way over the same hospitals, on the same simulation
engine with the same settings, thread counts and poll interval. The plain one is Flower's own FedAvg strategy: weights
travel and are averaged in the clear, and validation of the new model is all that follows. The secure one is
`main.py simulate`: ledger, encryption, verification, detection and voting. Whole runs take turns.

Start-up lasts from when Flower's process starts until all hospitals are connected and the first round opens. A round
lasts from the end of the round before it to its own end, as the server reports it. The first round, in which
TensorFlow is imported at the hospitals and traces the model, is reported apart; `ratio_wall` compares the medians over
all others. What a secure round takes beyond training is its time without that of the stage "train", which is summed
over the hospitals and divided by how many of them train at a time.
Run: .venv/bin/python benchmarks/round_overhead.py [--model scatter] [--hospitals 5 25] [--data FOLDER] [--json]
Images are those of FEDWARD_DATA, by default ../shared/data; `--data synthetic` draws phantoms.
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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from commands.simulate.simulation import simulate_new
from fedward import settings as setting
from fedward.files import read_lines
from fedward.flower import FlowerSimulation, clients_at_once, stage_app, stop_left_over
from fedward.flower_home import flower_home
from fedward.folders.simulation import SimulationFolder
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.plugins import MODELS
from fedward.settings import Settings
from fedward.tables import Scalar

HERE = Path(__file__).resolve().parent
LOOK_S = 0.05  # how often it is looked whether something has started or ended
STAGED = {"client.py": "plain_client.py", "server.py": "plain_server.py"}


@dataclass
class Timed:
    """The rounds of one run.

    Attributes:
        start_up_s: Until the first round opened.
        rounds_s: Each round's seconds, the first one's from its opening on.
        training_s: Each round's seconds of training, where some hospitals train at the same time; empty in plain runs.
    """

    start_up_s: float
    rounds_s: list[float]
    training_s: list[float] = field(default_factory=list)

    def beyond_training_s(self) -> list[float]:
        """What each round but the first took beyond training."""
        return [whole - training for whole, training in zip(self.rounds_s[1:], self.training_s[1:], strict=True)]


def main() -> None:
    """Print a table for each number of hospitals, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", default=str(Path(os.environ.get("FEDWARD_DATA", "../shared/data")) / "chest_xray"))
    parser.add_argument("--model", choices=sorted(MODELS), help="default: pyproject.toml's")
    parser.add_argument("--hospitals", type=int, nargs="+", default=[setting.load().data.hospitals])
    parser.add_argument("--rounds", type=int, default=4, help="at least 2")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--local-epochs", type=int, default=2)
    arguments = parser.parse_args()
    source = Path(arguments.data)
    chosen: list[tuple[str, Scalar]] = [
        ("data.source", str(source.resolve()) if source.is_dir() else arguments.data),
        ("training.rounds", arguments.rounds),
        ("training.local-epochs", arguments.local_epochs),
    ]
    if arguments.model:
        chosen.append(("model.name", arguments.model))
    results = []
    for hospitals in arguments.hospitals:
        settings = setting.load(None, *chosen, ("data.hospitals", hospitals))
        results.append(compared(settings, arguments.turns))
        if not arguments.json:
            print(table(results[-1]), flush=True)
    if arguments.json:
        print(json.dumps(results, indent=2))


def compared(settings: Settings, turns: int) -> dict[str, Any]:
    """Run both federations in turn, and sum up what was measured.

    Args:
        settings: The settings of all runs.
        turns: How often each of the two runs.
    """
    secure_runs, plain_runs, stages = list[Timed](), list[Timed](), list[Mapping[str, float]]()
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            secure, plain = SimulationFolder(Path(folder) / "secure"), SimulationFolder(Path(folder) / "plain")
            timed = timed_rounds(secure, lambda run=secure: simulate_new(run.path, settings))
            told = [line["timing_s"] for line in secure.server.rounds()]
            timed.training_s = [stage["train"] / clients_at_once(settings) for stage in told]
            secure_runs.append(timed)
            stages += told[1:]
            plain_runs.append(timed_rounds(plain, lambda run=plain, of=secure: run_plain(run, of, settings)))
    runs = {"secure": secure_runs, "plain": plain_runs}
    later = {kind: statistics.median(value for run in of for value in run.rounds_s[1:]) for kind, of in runs.items()}
    names = sorted({name for stage in stages for name in stage})
    return {
        "model": settings.model.name,
        "hospitals": settings.data.hospitals,
        "local_epochs": settings.training.local_epochs,
        "runs": {kind: [asdict(run) for run in of] for kind, of in runs.items()},
        "start_up_s": {kind: statistics.median(run.start_up_s for run in of) for kind, of in runs.items()},
        "first_round_s": {kind: statistics.median(run.rounds_s[0] for run in of) for kind, of in runs.items()},
        "round_s": later,
        "ratio_wall": later["secure"] / later["plain"],
        "beyond_training_s": statistics.median(value for run in secure_runs for value in run.beyond_training_s()),
        "secure_stages_s": {name: statistics.median(stage.get(name, 0.0) for stage in stages) for name in names},
    }


def table(result: Mapping[str, Any]) -> str:
    """What was measured for one number of hospitals, for people."""
    lines = [
        f"{result['model']}, {result['hospitals']} hospitals, {result['local_epochs']} local epochs",
        "| federation | a round, s | first round, s | start-up, s |",
        "|---|---|---|---|",
    ]
    for kind in result["round_s"]:
        seconds = (result[name][kind] for name in ("round_s", "first_round_s", "start_up_s"))
        lines.append(f"| {kind} | {' | '.join(f'{value:.2f}' for value in seconds)} |")
    stages = ", ".join(f"{name} {value:.2f}" for name, value in result["secure_stages_s"].items())
    return "\n".join(
        [
            *lines,
            f"\nA secure round takes {result['ratio_wall']:.2f} times as long as a plain one, "
            f"{result['beyond_training_s']:.2f} s of it beyond training.",
            f"Its stages, seconds summed over hospitals: {stages}\n",
        ]
    )


def timed_rounds(run: SimulationFolder, work: Callable[[], object]) -> Timed:
    """Do the work; tell by the run's own log when Flower started, the first round opened and each round ended.

    Nothing reads the log meanwhile: that would take a core from what is measured.
    """
    started: list[float] = []
    done = threading.Event()
    watcher = threading.Thread(target=_note_start, args=(run.path / "flower.log", started, done), daemon=True)
    watcher.start()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            work()
    finally:
        done.set()
        watcher.join()
    told = [json.loads(line) for line in read_lines(run.server.progress)]
    opened = next(line for line in told if line["event"] == "opened")
    marks = [*started, _moment(opened), *(_moment(line) for line in told if line["event"] == "closed")]
    start_up_s, *rounds_s = (end - begin for begin, end in itertools.pairwise(marks))
    return Timed(start_up_s, rounds_s)


def _note_start(log: Path, started: list[float], done: threading.Event) -> None:
    """Append the moment at which Flower starts."""
    while not log.exists():
        if done.wait(LOOK_S):
            return
    started.append(time.time())


def _moment(line: Mapping[str, Any]) -> float:
    """When something was logged, in seconds since 1970."""
    return datetime.fromisoformat(line["time"]).timestamp()


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
    with flower_home(stop_left_over) as home:
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
        time.sleep(10 * LOOK_S)


if __name__ == "__main__":
    main()
