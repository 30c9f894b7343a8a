"""How good the models are, with and without privacy: whole federations on chest_xray, scored on its test split.

Each row is `main.py simulate` as a user runs it, in a process of its own: five hospitals, the ledger, encryption and
votes. Figures are medians over seeds; a seed decides the initial weights and which patients go to which hospital, and
the noise of privacy differs in any case. Presets are to be chosen by the val split alone.

Rows that end in `-alone` are the mean of the five hospitals' own models, each trained without the others under the
same settings and budget (`simulate --baselines`).

It may be interrupted: what has finished is in the output folder, and is used again while the settings are the same.
Run: .venv/bin/python benchmarks/quality.py [--json] [--only NAME...] [--seeds 1,2,3] [--cnn] [--out FOLDER]
Images come from FEDWARD_DATA, default ../shared/data.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fedward import settings as setting
from fedward.files import parse_json, write_atomic
from fedward.settings import Settings, to_tables
from fedward.tables import parse_assignment

ROOT = setting.PROJECT_FILE.parent
ALONE = "-alone"
MEASURED = ("epsilon", "auc", "accuracy", "seconds")
LOG_LINES_SHOWN = 15


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: Name of the row and of its runs' folders.
        config: File in config/.
        changes: `table.key=value` beside it.
        baselines: Whether every hospital is also trained alone, which gives a second line.
        slow: Only run when asked for by name or by --cnn.
    """

    name: str
    config: str
    changes: tuple[str, ...] = ()
    baselines: bool = False
    slow: bool = False

    def settings(self, data: Path, seed: int) -> Settings:
        """The settings of one run, before calibration has decided the noise."""
        given = [parse_assignment(change) for change in self.changes]
        return setting.load(
            ROOT / "config" / self.config, *given, ("data.source", str(data)), ("training.seed", str(seed))
        )


# Without privacy the CNN takes config/scatter.toml's rounds and epochs, but its own default learning rate.
PLAIN_CNN = ("model.name=cnn", "training.learning-rate=0.001")
# Under a budget it takes the preset's rounds, and fewer steps, for they are slow. Clip and rate were hardly tuned; the
# rate shrinks with the noise. Its loss jumps while it learns.
PRIVATE_CNN = (
    "model.name=cnn",
    "privacy.steps=4",
    "privacy.clip-norm=0.3",
    "encryption.value-range=1.0",
    "detectors.validation-loss.tolerance=3.0",
)
PRIVATE_RATES = {8: 0.15, 3: 0.07, 1: 0.03}
DIRICHLET = ("data.partition=dirichlet", "data.alpha=0.5")
ROWS = (
    Row("scatter", "scatter.toml"),
    Row("scatter-eps8", "privacy-eps8.toml"),
    Row("scatter-eps3", "privacy-eps3.toml"),
    Row("scatter-eps1", "privacy-eps1.toml", baselines=True),
    Row("scatter-dirichlet", "scatter.toml", DIRICHLET),
    Row("cnn", "scatter.toml", PLAIN_CNN),
    Row("cnn-dirichlet", "scatter.toml", (*PLAIN_CNN, *DIRICHLET)),
    *(
        Row(f"cnn-eps{budget}", f"privacy-eps{budget}.toml", (*PRIVATE_CNN, f"privacy.learning-rate={rate}"), slow=True)
        for budget, rate in PRIVATE_RATES.items()
    ),
)


def main() -> None:
    """Run what is missing, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="+", choices=[row.name for row in ROWS], metavar="NAME")
    parser.add_argument("--seeds", type=_seeds, default=(1, 2, 3), help="such as 1,2,3")
    parser.add_argument("--cnn", action="store_true", help="also the CNN under each budget: slow")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "quality", help="where runs are kept")
    arguments = parser.parse_args()
    data = (Path(os.environ.get("FEDWARD_DATA", ROOT.parent / "shared" / "data")) / "chest_xray").resolve()
    chosen = [row for row in ROWS if (row.name in arguments.only if arguments.only else arguments.cnn or not row.slow)]
    runs: list[dict[str, Any]] = []
    for seed in arguments.seeds:  # a whole table first, then the next seed
        for row in chosen:
            runs += run(row, seed, data, arguments.out)
    rows = summarize(runs)
    print(json.dumps({"rows": rows, "runs": runs}, indent=2) if arguments.json else table(rows, runs))


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(int(seed) for seed in text.split(","))


def run(row: Row, seed: int, data: Path, out: Path) -> list[dict[str, Any]]:
    """One federation, unless it has finished before; one or two lines of figures.

    Raises:
        SystemExit: the run failed.
    """
    folder, kept = out / f"{row.name}-{seed}", out / f"{row.name}-{seed}.json"
    wanted = to_tables(row.settings(data, seed))
    if kept.exists():
        found = parse_json(kept.read_bytes())
        if found["settings"] == wanted and (found["alone"] or not row.baselines):
            return _lines(row, seed, found)
    out.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)  # it was cut short, and its time would be wrong
    seconds = _simulate(
        row,
        ["--config", str(ROOT / "config" / row.config), "--data", str(data), "--seed", str(seed), "--out", str(folder)]
        + [argument for change in row.changes for argument in ("--set", change)],
        folder,
    )
    summary = parse_json((folder / "summary.json").read_bytes())
    found = {"settings": wanted, "summary": summary, "seconds": seconds, "alone": None}
    if row.baselines:
        # In a second process, so that the federation's own time is what its user waits for.
        alone_s = _simulate(row, ["--resume", "--baselines", "--out", str(folder)], folder)
        baselines = parse_json((folder / "summary.json").read_bytes())["baselines"]
        found["alone"] = {"mean": baselines["local_mean"], "seconds": alone_s}
    write_atomic(kept, json.dumps(found, indent=2).encode())
    return _lines(row, seed, found)


def _simulate(row: Row, arguments: Sequence[str], folder: Path) -> float:
    """Run the command to its end; its wall seconds.

    Raises:
        SystemExit: it failed.
    """
    print(f"{row.name}: main.py simulate {' '.join(arguments)}", file=sys.stderr, flush=True)
    started, log = time.monotonic(), folder.with_suffix(".log")
    with log.open("wb") as output:
        code = subprocess.run(  # noqa: S603 - our own program, no shell
            [sys.executable, str(ROOT / "main.py"), "simulate", *arguments], stdout=output, stderr=output, check=False
        ).returncode
    if code:
        shown = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
        raise SystemExit(f"{row.name} ended with exit code {code}:\n{shown}\nAll of it: {log}")
    return time.monotonic() - started


def _lines(row: Row, seed: int, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Figures of one finished run: of the federation and, where there are, of hospitals alone."""
    summary, settings = found["summary"], found["settings"]
    shared = {
        "seed": seed,
        "model": settings["model"]["name"],
        "partition": settings["data"]["partition"],
        "unit": summary["privacy"]["unit"],
        "epsilon": summary["privacy"]["epsilon"],
        "rounds": summary["rounds"],
    }
    scores = {"auc": summary["test"]["auc"], "accuracy": summary["test"]["accuracy"], "seconds": found["seconds"]}
    lines = [{"name": row.name, **shared, **scores}]
    if found["alone"]:
        mean = {figure: found["alone"]["mean"][figure] for figure in ("auc", "accuracy")}
        lines.append({"name": row.name + ALONE, **shared, **mean, "seconds": found["alone"]["seconds"]})
    return lines


def summarize(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a name: the median over its seeds of every figure, None where a run has none."""
    rows = []
    for name in dict.fromkeys(line["name"] for line in runs):
        own = [line for line in runs if line["name"] == name]
        row = {key: own[0][key] for key in ("name", "model", "partition", "unit")}
        for key in MEASURED:
            values = [line[key] for line in own]
            row[key] = None if None in values else statistics.median(values)
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown, and below it what a reader has to know of the runs."""
    lines = [
        "| run | model | partition | protects | epsilon | AUC | accuracy | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        epsilon = "none" if row["epsilon"] is None else f"{row['epsilon']:.2f}"
        areas = [line["auc"] for line in runs if line["name"] == row["name"]]
        spread = f" ({min(areas):.3f} to {max(areas):.3f})" if len(areas) > 1 else ""
        lines.append(
            f"| {row['name']} | {row['model']} | {row['partition']} | {row['unit'] or 'nobody'} | {epsilon} "
            f"| {row['auc']:.3f}{spread} | {row['accuracy']:.3f} | {row['seconds']:.0f} |"
        )
    seeds = ", ".join(dict.fromkeys(str(line["seed"]) for line in runs))
    lines += ["", f"Test split. Medians over the seeds {seeds}; in brackets, the least and largest AUC."]
    lost = [line for line in runs if line["rounds"]["rejected"] or line["rounds"]["aborted"]]
    for line in lost:
        rounds = ", ".join(f"{count} {how}" for how, count in line["rounds"].items())
        lines.append(f"{line['name']}, seed {line['seed']}: {rounds}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
