"""Report of a finished run: `summary.json` for programs, and one table for people."""

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from fedward.figures.score_rows import baseline_rows, test_rows
from fedward.files import write_atomic
from fedward.timing import STAGES


@dataclass(frozen=True)
class RunFacts:
    """What a run measured, gathered from ledger, hospitals and log; `summary.json` is made of nothing else.

    Attributes:
        run_id: The run folder's name.
        hospitals: How many took part.
        model: name, parameters, weights_sha256, positive (what its outputs find), class_names.
        phases: How each round ended, as on the ledger.
        rejections: Updates and votes that the server set aside, without those that it left out by lot.
        scores: All figures of the test split: pooled, by hospital, and by finding.
        baselines: Scores of each hospital's model alone, and of one model on all images; None where not asked for.
        privacy: mode, unit, epsilon, delta.
        encryption: bytes_per_parameter, parameters, ring_degree, security_bits, exact.
        ledger: chain_id, contract, height, head, submissions, votes.
        seconds: Wall seconds by stage, and `total`.
        data: What was understood of the images: positive, patients, told_by, left_out, partly_used, in counts.
        attack: What malicious hospitals were told to do: attack, first_round, hospitals; None where all were honest.
        attribution: left_out: round, hospital, reason; named: hospital, round, rejected, until.
        objections: Rounds in which a hospital objected: round, phase, and hospitals by detector.
    """

    run_id: str
    hospitals: int
    model: dict[str, Any]
    phases: list[str]
    rejections: int
    scores: dict[str, Any]
    baselines: dict[str, Any] | None
    privacy: dict[str, Any]
    encryption: dict[str, Any]
    ledger: dict[str, Any]
    seconds: dict[str, float]
    data: dict[str, Any]
    attack: dict[str, Any] | None
    attribution: dict[str, Any]
    objections: list[dict[str, Any]]


def summarize(facts: RunFacts) -> dict[str, Any]:
    """The content of `summary.json`; every key is always there."""
    phases = Counter(facts.phases)
    return {
        "run_id": facts.run_id,
        "hospitals": facts.hospitals,
        "model": facts.model,
        "data": facts.data,
        "rounds": {"opened": len(facts.phases)} | {name: phases[name] for name in ("accepted", "rejected", "aborted")},
        "test": {key: facts.scores["pooled"][key] for key in ("n", "accuracy", "auc", "precision", "recall", "f1")},
        "scores": facts.scores,
        "baselines": facts.baselines,
        "privacy": facts.privacy,
        "encryption": facts.encryption,
        "ledger": facts.ledger | {"rejections": facts.rejections},
        "attack": facts.attack,
        "attribution": facts.attribution,
        "objections": facts.objections,
        "timing_s": {stage: _rounded(facts.seconds.get(stage)) for stage in STAGES}
        | {"total": _rounded(facts.seconds.get("total", 0.0))},
    }


def _rounded(seconds: float | None) -> float | None:
    """To milliseconds; None for a stage that was not measured, or that hospitals do not tell of."""
    return None if seconds is None else round(seconds, 3)


def epsilon_text(privacy: dict[str, Any]) -> str:
    """The spent epsilon as text, rounded up, so that it is never understated."""
    return f"epsilon {math.ceil(privacy['epsilon'] * 100 - 1e-9) / 100:.2f} at delta {privacy['delta']:g}"


def _attack_rows(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Who attacked, and what hospitals had against candidates, where there was either."""
    rows, attack = [], summary["attack"]
    if attack:
        by, first = ", ".join(attack["hospitals"]), attack["first_round"]
        rows.append(("Attack", f"{attack['attack']} by {by}, from round {first} on"))
    for entry in summary["objections"]:
        reasons = ", ".join(f"{name} at {len(hospitals)}" for name, hospitals in entry["hospitals"].items())
        rows.append((f"Round {entry['round']}", f"{entry['phase']}; objections by {reasons}"))
    for named in summary["attribution"]["named"]:
        rounds = ", ".join(map(str, named["rejected"]))
        found = f"{named['hospital']}, after round {named['round']}: it was in all rejected rounds ({rounds})"
        rows.append(("Suspended", f"{found}; until round {named['until']}"))
    return rows


def positive_text(model: dict[str, Any]) -> str:
    """What counts as found: `PNEUMONIA (against NORMAL)`, or the findings' names."""
    found, names = model["positive"], model["class_names"]
    return f"{found[0]} (against {names[0]})" if len(found) == 1 and len(names) == 2 else ", ".join(found)


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json`."""
    write_atomic(path, json.dumps(summary, indent=2).encode())


def final_table(summary: dict[str, Any], folder: Path) -> Table:
    """The one table at the end of `simulate`."""
    rounds, privacy = summary["rounds"], summary["privacy"]
    encryption, ledger = summary["encryption"], summary["ledger"]
    budget = "" if privacy["epsilon"] is None else f": {epsilon_text(privacy)} in this run"
    unit = f", for the unit {privacy['unit']}" if privacy["unit"] else ", so the model may remember patients"
    table = Table(title=f"Run {summary['run_id']}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for name, value in (
        ("Hospitals", str(summary["hospitals"])),
        ("Rounds", ", ".join(f"{rounds[key]} {key}" for key in ("opened", "accepted", "rejected", "aborted"))),
        *_attack_rows(summary),
        ("Model", f"{summary['model']['name']}, {summary['model']['parameters']:,} parameters"),
        ("Positive", positive_text(summary["model"])),
        *test_rows(summary["scores"]),
        *baseline_rows(summary["baselines"]),
        ("Privacy", f"{privacy['mode']}{budget}{unit}"),
        ("Encryption", f"CKKS, {encryption['bytes_per_parameter']:.2f} bytes a parameter, exact sums"),
        ("Ledger", f"{ledger['submissions']} submissions, {ledger['votes']} votes, {ledger['rejections']} rejections"),
        ("Time", f"{summary['timing_s']['total']:.1f} s"),
        ("Folder", str(folder)),
    ):
        table.add_row(name, value)
    return table
