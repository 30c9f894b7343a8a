"""`main.py lab backdoor`: prepares the data, runs what is missing, prints the tables and draws the pictures."""

import json
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commands import console
from commands.lab.tables import as_markdown, as_tables
from data_preprocessing import preprocess
from fedward import settings as setting
from fedward.backdoor.attacks.attack import Part
from fedward.backdoor.attacks.registry import attack_from
from fedward.dataset.storage import save_partition
from fedward.errors import FedwardError, UsageError
from fedward.files import make_folder, parse_json, resolved, write_atomic
from fedward.labs.backdoor.federation import reject_quorum
from fedward.labs.backdoor.pictures import plot_detection, plot_success
from fedward.labs.backdoor.plan import CONDITIONS, FULL, QUICK, Plan, attack_units, clean_units, narrowed
from fedward.labs.backdoor.running import LabFolder, results_of, run_units, save_settings
from fedward.labs.backdoor.summary import summarize
from fedward.labs.backdoor.trial import NULL
from fedward.privacy.accounting import calibrated
from fedward.settings import Settings
from fedward.tables import listed, parse_assignment

HOSPITALS = 5


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line, as it was given."""

    data: str
    full: bool
    seeds: str
    attacks: tuple[str, ...]
    conditions: str
    assignments: tuple[str, ...]

    def plan(self) -> Plan:
        """What to run.

        Raises:
            UsageError: a seed, attack, condition or setting is wrong.
        """
        try:
            seeds = tuple(int(seed) for seed in listed(self.seeds))
        except ValueError as error:
            raise UsageError(f"--seeds {self.seeds} is no list of whole numbers.", "Write --seeds 1,2,3.") from error
        for attack in self.attacks:
            if attack != NULL:
                attack_from(attack, Part(0, 1, 1 / HOSPITALS))
        for condition in listed(self.conditions):
            if condition not in CONDITIONS:
                raise UsageError(f"There is no condition {condition!r}.", f"Choose of {', '.join(CONDITIONS)}.")
        changes = tuple(parse_assignment(text) for text in self.assignments)
        asked = narrowed(FULL if self.full else QUICK, seeds, self.attacks, listed(self.conditions), changes)
        for condition in asked.conditions:
            self.settings(asked, condition, asked.seeds[0])
        return asked

    def settings(self, plan: Plan, condition: str, seed: int) -> Settings:
        """The settings of one condition and seed."""
        preset, changes = CONDITIONS[condition]
        config = setting.PROJECT_FILE.parent / "config" / preset if preset else None
        own = (("data.source", self.data), ("training.seed", seed))
        settings = calibrated(setting.load(config, ("data.hospitals", HOSPITALS), *plan.changes, *changes, *own))
        if settings.image_encryption.at_rest:
            raise UsageError(
                "The lab keeps partitions in the clear, for it has no hospitals with keys.",
                "Leave image-encryption.method away.",
            )
        return settings


def run_lab(out: Path, asked: Asked, form: str) -> None:
    """Run what is missing, then print and draw.

    Args:
        out: The lab's folder.
        asked: What to run, and on which data.
        form: "table", "markdown" or "json".

    Raises:
        UsageError: something asked for is wrong, or the folder has another lab.
        DataError: the images are missing, unreadable or too few, or have several findings.
    """
    plan, folder = asked.plan(), LabFolder(resolved(out))
    _settle(folder, asked, plan)
    try:
        _prepare(folder, asked, plan)
    except FedwardError:
        if not (folder.path / "data").exists():
            shutil.rmtree(folder.path)  # nothing came of it
        raise
    for title, units in (("Clean rounds", list(clean_units(plan))), ("Attacks", list(attack_units(plan)))):
        with console.bar(title) as report:
            run_units(folder, plan, units, report)
    results = results_of(folder, [*clean_units(plan), *attack_units(plan)])
    settings = asked.settings(plan, plan.conditions[0], plan.seeds[0])
    summary = summarize(plan, results, reject_quorum(settings, settings.data.hospitals))
    write_atomic(folder.path / "summary.json", json.dumps(summary, indent=1).encode())
    plot_success(folder.path / "success.png", plan, results)
    plot_detection(folder.path / "detection.png", summary)
    _print(summary, folder.path, form)


def _print(summary: dict[str, Any], path: Path, form: str) -> None:
    if form == "json":
        console.data(summary)
    elif form == "markdown":
        print(as_markdown(summary))
    else:
        for table in as_tables(summary):
            console.out.print(table)
    console.note(f"Pictures and figures are in {path}.")


def _settle(folder: LabFolder, asked: Asked, plan: Plan) -> None:
    """Note in the folder what it is for, or check that it is for the same.

    Which seeds, attacks and conditions are wanted may change from one call to the next: what was run stays.
    """
    note = folder.path / "lab.json"
    fixed = {key: value for key, value in asdict(plan).items() if key not in ("seeds", "attacks", "conditions")}
    wanted = json.loads(json.dumps({"data": asked.data, **fixed}))
    if not note.exists():
        if folder.path.exists() and any(folder.path.iterdir()):
            raise UsageError(f"{folder.path} has other files.", "Give --out another folder.")
        make_folder(folder.path)
        write_atomic(note, json.dumps(wanted, indent=1).encode())
    elif parse_json(note.read_bytes()) != wanted:
        raise UsageError(f"{folder.path} has a lab with other data or settings.", "Give --out another folder.")


def _prepare(folder: LabFolder, asked: Asked, plan: Plan) -> None:
    """Read the images, and share them out for each condition and seed."""
    for condition in plan.conditions:
        for seed in plan.seeds:
            place = folder.data(condition, seed)
            if (place / "settings.json").exists():
                continue
            settings = asked.settings(plan, condition, seed)
            with console.bar(f"Reading images ({condition}, seed {seed})") as report:
                data = preprocess(settings.data, seed, secrets.token_bytes(32), report)
            if len(data.partitions[0].findings) > 1:
                raise UsageError(
                    "The lab attacks one finding, and these images have several.",
                    "Choose with --set data.finding=NAME.",
                )
            make_folder(place)
            for index, partition in enumerate(data.partitions):
                save_partition(place / f"hospital-{index + 1:03d}.npz", partition)
            save_settings(place, settings)
