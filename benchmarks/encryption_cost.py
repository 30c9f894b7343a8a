"""What encryption costs: ours, Pyfhel in its simplest use, and TenSEAL at NVFlare's defaults.

Five hospitals' updates of the same random values go one after the other through the whole path: a hospital encrypts
and serializes, the server parses and adds, a hospital decrypts the sum. Each way runs in a process of its own, with
one thread (TenSEAL with `--threads`), so that its peak memory is its own. Repetitions take turns, and the median
counts. Rows tell:

- `deal_s`: one hospital's key for the round is drawn, split, and sealed to five hospitals. Zero where one key lasts and
  every hospital has it, which opens every single update, too.
- `encrypt_s`: one hospital's float32 vector to ciphertexts; weighting and, with us, quantizing are part of it.
- `serialize_s`: these to bytes. Our `encrypt` gives bytes at once, so with us this is the handing on alone.
- `parse_s`: one update's bytes to what can be added; with us the check of every residue.
- `add_s`: one update added to the running sum.
- `answer_s`: one hospital opens the five shares dealt to it and answers about them; the server judges all answers.
- `release_s`: one hospital's part of the sum's key, encrypted; the others' four are made with it, and counted.
- `decrypt_s`: the sum's bytes to the mean update; parsing and restoring the sum's key are part of it.
- `bytes_per_parameter`: of all that one hospital sends in a round: update, sealed shares, answers, release.
- `peak_mb`: of a process that does all of this: never more than one update beside the running sum, the input, and the
  exact mean to compare with.
- `max_error`: largest distance of a coordinate from the mean in double precision. Ours is all from quantizing: the
  sum of the whole numbers is exact.

`ratio_time_vs_tenseal` is the sum of TenSEAL's times over ours, `ratio_bytes_vs_tenseal` that of bytes, at the
largest size, symmetric. TenSEAL is spared what NVFlare adds: a ciphertext for each layer, and a multiplication.
`--cpu` counts the process's own processor seconds: of one thread the same, and steadier on a busy machine.
Run: make .venv-bench/stamp && .venv/bin/python benchmarks/encryption_cost.py [--json]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Before this folder, which is on the path already: the stage `encryption` is meant where that is imported.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.encryption_ways import HOSPITALS, OURS, REFERENCE, WAYS

ROOT = Path(__file__).resolve().parent.parent
BENCH_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
SIZES = (500_000, 7_000_000)
REPETITIONS = 3
STAGES = ("deal_s", "encrypt_s", "serialize_s", "parse_s", "add_s", "answer_s", "release_s", "decrypt_s")


@dataclass(frozen=True)
class Row:
    """What one way costs at one size; see the module's text."""

    name: str
    parameters: int
    deal_s: float
    encrypt_s: float
    serialize_s: float
    parse_s: float
    add_s: float
    answer_s: float
    release_s: float
    decrypt_s: float
    bytes_per_parameter: float
    peak_mb: float
    max_error: float

    @property
    def total_s(self) -> float:
        """One update's way through all stages."""
        return float(sum(getattr(self, stage) for stage in STAGES))


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--parameters", type=int, nargs="+", default=list(SIZES), help="sizes to measure")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--threads", type=int, default=1, help="of TenSEAL")
    parser.add_argument("--cpu", action="store_true", help="processor seconds instead of those on the wall")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # how this program calls itself for one way
    arguments = parser.parse_args()
    if arguments.cpu and arguments.threads > 1:
        parser.error("--cpu counts one process with one thread")
    how = {"threads": arguments.threads, "cpu": arguments.cpu}
    if arguments.measure:
        print(json.dumps(asdict(measure(arguments.measure, arguments.parameters[0], **how))))
        return
    if not BENCH_PYTHON.exists():
        raise SystemExit("TenSEAL is not installed: run `make .venv-bench/stamp`, which makes .venv-bench.")
    rows = [row for size in arguments.parameters for row in compare(size, arguments.repetitions, **how)]
    largest = {row.name: row for row in rows if row.parameters == max(arguments.parameters)}
    ours, reference = largest[OURS], largest[REFERENCE]
    ratio_time = reference.total_s / ours.total_s
    ratio_bytes = reference.bytes_per_parameter / ours.bytes_per_parameter
    if arguments.json:
        ratios = {"ratio_time_vs_tenseal": ratio_time, "ratio_bytes_vs_tenseal": ratio_bytes}
        print(json.dumps({"rows": [asdict(row) for row in rows], **ratios}, indent=2))
        return
    names = " | ".join(stage.removesuffix("_s") + " s" for stage in STAGES)
    print(f"| parameters | way | {names} | bytes/parameter | MB | error |")
    print("|---|---|" + "---|" * (len(STAGES) + 3))
    for row in rows:
        seconds = " | ".join(f"{getattr(row, stage):.3f}" for stage in STAGES)
        figures = f"{row.bytes_per_parameter:.2f} | {row.peak_mb:.0f} | {row.max_error:.1e}"
        print(f"| {row.parameters:,} | {row.name} | {seconds} | {figures} |")
    print(f"\nTenSEAL, symmetric, over ours: {ratio_time:.1f} times the time, {ratio_bytes:.1f} times the bytes.")


def compare(parameters: int, repetitions: int, *, threads: int, cpu: bool) -> list[Row]:
    """Run all ways in turns, and take each one's medians."""
    runs: dict[str, list[Row]] = {name: [] for name in WAYS}
    for repetition in range(repetitions):
        for name in WAYS:
            print(f"{parameters:,} parameters, turn {repetition + 1}: {name}", file=sys.stderr)
            runs[name].append(in_own_process(name, parameters, threads=threads, cpu=cpu))
    return [medians(rows) for rows in runs.values()]


def in_own_process(name: str, parameters: int, *, threads: int, cpu: bool) -> Row:
    """Measure one way in a fresh process, with the interpreter that has its library."""
    python = str(BENCH_PYTHON) if name.startswith("tenseal") else sys.executable
    command = [python, str(Path(__file__).resolve()), "--measure", name, "--parameters", str(parameters)]
    command += ["--threads", str(threads)]
    command += ["--cpu"] if cpu else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))  # TenSEAL prints a warning first


def measure(name: str, parameters: int, *, threads: int, cpu: bool) -> Row:
    """Take five updates through one way, one after the other; of each stage the median over the hospitals counts."""
    import numpy as np

    way, clock = WAYS[name](parameters, threads), time.process_time if cpu else time.perf_counter
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}

    def timed(stage: str, work: Callable[..., Any], *arguments: Any) -> Any:
        began = clock()
        result = work(*arguments)
        seconds[stage].append(clock() - began)
        return result

    mean, total, sent_bytes = np.zeros(parameters), None, 0
    for hospital in range(HOSPITALS):
        rng = np.random.default_rng([7, hospital])
        values = (rng.standard_normal(parameters, np.float32) * np.float32(0.01)).astype(np.float32)
        mean += values / np.float64(HOSPITALS)
        sent_bytes = timed("deal_s", way.deal)
        ciphertexts = timed("encrypt_s", way.encrypt, values)
        del values
        sent = timed("serialize_s", way.serialize, ciphertexts)
        del ciphertexts
        sent_bytes += sum(map(len, sent))
        update = timed("parse_s", way.parse, sent)
        del sent
        total = update if total is None else timed("add_s", way.add, total, update)
        del update
    sent_bytes += timed("answer_s", way.answer) + timed("release_s", way.release)
    sent = way.finish(total)
    del total
    error = float(np.abs(timed("decrypt_s", way.decrypt, sent) - mean).max())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    times = {stage: statistics.median(values) for stage, values in seconds.items()}
    return Row(name, parameters, **times, bytes_per_parameter=sent_bytes / parameters, peak_mb=peak_mb, max_error=error)


def medians(rows: list[Row]) -> Row:
    """One row of several runs: medians, and the largest error of all."""
    figures = [*STAGES, "bytes_per_parameter", "peak_mb"]
    middle = {figure: statistics.median(getattr(row, figure) for row in rows) for figure in figures}
    return Row(rows[0].name, rows[0].parameters, **middle, max_error=max(row.max_error for row in rows))


if __name__ == "__main__":
    main()
