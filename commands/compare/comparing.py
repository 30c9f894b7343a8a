"""`main.py compare`: reads finished runs, sets what differs side by side, and tells by how much figures surely do."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from commands import console
from commands.compare.differing import Compared, figures_of, settings_that_differ
from commands.compare.scored import ScoredRun, paired, score_run, shared
from commands.compare.sheets import difference_table, figure_table, setting_table
from commands.new_folder import check_new
from commands.view.shelf import Run, read_run
from fedward.errors import EvidenceError, UsageError
from fedward.figures.comparison_plots import plot_differences, plot_roc_curves, plot_validation
from fedward.files import making_folder, resolved, write_atomic
from fedward.folders.places import record_file

_OWN = "The intervals are then wider than paired ones."


def compare_runs(paths: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Compare finished runs with the first, and print what differs.

    Args:
        paths: Their folders.
        out: A new folder for pictures and JSON; None: only what is printed.
        as_json: Print JSON rather than tables.

    Raises:
        UsageError: there are fewer than two, one is named twice, or `out` is in use.
        EvidenceError: one is no run's folder, or has not ended.
        VerificationError: one is damaged, or its model is not the one that its summary tells of.
    """
    runs, names = _read(paths)
    if out is not None:
        check_new(out)
    with console.bar("Scoring test images") as report:
        scored = []
        for place, run in enumerate(runs):
            report(place, len(runs))
            scored.append(score_run(run))
    compared = [
        _against_first(runs[0], run, scored[0], its, names[0], name)
        for run, its, name in zip(runs[1:], scored[1:], names[1:], strict=True)
    ]
    told: dict[str, Any] = {
        "runs": [{"name": name, "folder": str(run.path)} for name, run in zip(names, runs, strict=True)],
        "settings": settings_that_differ(runs),
        "figures": figures_of(runs),
        "differences": [each.as_dict() for each in compared],
    }
    if out is not None:
        with making_folder(out) as made:
            _draw(made, names, runs, scored, compared)
            write_atomic(made / "comparison.json", json.dumps(told, indent=2).encode())
    if as_json:
        console.data(told)
        return
    for each in compared:
        if each.note:
            console.note(each.note)
    console.out.print(setting_table(names, told["settings"]))
    console.out.print(figure_table(names, told["figures"]))
    for each in compared:
        console.out.print(difference_table(each, names[0]))
    if out is not None:
        console.note(f"Pictures and JSON are in {out}.")


def _read(paths: tuple[Path, ...]) -> tuple[list[Run], list[str]]:
    """Finished runs, and names that tell them apart."""
    if len(paths) < 2:
        raise UsageError("There is nothing to compare with a single run.", "Name the folders of two runs or more.")
    runs: list[Run] = []
    for path in map(resolved, paths):
        if path in [run.path for run in runs]:
            raise UsageError(f"{path} is named twice.", "Name each run once.")
        if not record_file(path).exists():
            raise EvidenceError(f"{path} is not a run folder: it has no server/run.json.", "Name the folder of a run.")
        runs.append(read_run(path))
        if runs[-1].summary is None:
            raise EvidenceError(
                f"The run in {path} has not ended: it has no summary.json.", "Continue it: main.py simulate --resume."
            )
    counted = Counter(run.name for run in runs)
    return runs, [run.name if counted[run.name] == 1 else str(run.path) for run in runs]


def _against_first(
    first: Run, run: Run, before: ScoredRun | str, after: ScoredRun | str, first_name: str, name: str
) -> Compared:
    """How one run differs from the first, paired where their test images are the same."""
    both = f"{first_name} and {name}"
    if first.record.findings != run.record.findings:
        kinds = " and ".join(", ".join(each.record.findings) for each in (first, run))
        return Compared(
            name, None, f"{both} look for different findings ({kinds}): their figures are not compared.", {}
        )
    if isinstance(before, str) or isinstance(after, str):
        why = before if isinstance(before, str) else str(after)
        return Compared.unpaired(name, f"{both} are compared unpaired, for test images are not there: {why} {_OWN}",
                                 first, run)  # fmt: skip
    its = paired(before, after)
    if its is None:
        common, counts = shared(before, after), f"{len(before.keys)} and {len(after.keys)}"
        size = [each.record.settings["data"].get("image-size") for each in (first, run)]
        at = f", at {size[0]} and {size[1]} pixels" if size[0] != size[1] else ""
        note = f"{both} have different test images ({counts}, {common} in both{at}), so they are compared unpaired."
        return Compared.unpaired(name, f"{note} {_OWN}", first, run)
    return Compared.paired(name, before, its, run.record.findings)


def _draw(
    folder: Path, names: list[str], runs: list[Run], scored: list[ScoredRun | str], compared: list[Compared]
) -> None:
    """Draw curves of all runs and their differences."""
    plot_validation(folder / "validation.png", [(name, run.rounds) for name, run in zip(names, runs, strict=True)])
    curves = [(name, each.truth, each.logits) for name, each in zip(names, scored, strict=True)
              if isinstance(each, ScoredRun)]  # fmt: skip
    if curves and len({run.record.findings for run in runs}) == 1:
        plot_roc_curves(folder / "roc.png", curves)
    rows: list[tuple[str, Any]] = [
        (f"{figure}: {each.name}", found) for each in compared for figure, found in each.differences.items() if found
    ]
    if rows:
        plot_differences(folder / "differences.png", rows, names[0])
