"""`main.py lab backdoor`: prepares the data, runs what is missing, prints the tables and draws the pictures."""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path

from commands import console
from commands.lab.backdoor_inquiry import LedgerInquiry
from commands.lab.backdoor_tables import sheets
from commands.lab.lab_folder import prepare, publish, settle
from commands.lab.wishes import HOSPITALS, Wishes
from fedward import settings as setting
from fedward.backdoor.attacks.attack import Part
from fedward.backdoor.attacks.registry import attack_from
from fedward.errors import UsageError
from fedward.files import resolved
from fedward.labs.backdoor.pictures import plot_detection, plot_success
from fedward.labs.backdoor.plan import CONDITIONS, FULL, QUICK, Plan, attack_units, clean_units, narrowed
from fedward.labs.backdoor.running import LabFolder, run_unit
from fedward.labs.backdoor.summary import summarize
from fedward.labs.backdoor.trial import NULL
from fedward.labs.backdoor.triggers import Triggers, plot_triggers
from fedward.labs.federation import reject_quorum
from fedward.labs.lab_folder import kept_as
from fedward.labs.units import results_of, run_units
from fedward.plugins import DETECTORS
from fedward.privacy.accounting import calibrated
from fedward.settings import Settings
from fedward.tables import listed


@dataclass(frozen=True)
class Asked(Wishes):
    """What was asked for on the command line, as it was given.

    Attributes:
        attacks: In place of the plan's, or none.
        conditions: A list in place of the plan's, or nothing.
        watching: A list of detectors that look beside those of the settings, and reject nothing.
    """

    attacks: tuple[str, ...] = ()
    conditions: str = ""
    watching: str = ""

    def plan(self) -> Plan:
        """What to run.

        Raises:
            UsageError: a seed, attack, condition, detector or setting is wrong.
        """
        for attack in self.attacks:
            if attack != NULL:
                attack_from(attack, Part(0, 1, 1 / HOSPITALS))
        for condition in listed(self.conditions):
            if condition not in CONDITIONS:
                raise UsageError(f"There is no condition {condition!r}.", f"Choose of {', '.join(CONDITIONS)}.")
        for name in listed(self.watching):
            if name not in DETECTORS:
                raise UsageError(f"There is no detector {name!r}.", f"Choose of {', '.join(DETECTORS)}.")
        lists = listed(self.conditions), listed(self.watching)
        asked = narrowed(FULL if self.full else QUICK, self.seed_numbers(), self.attacks, *lists, self.changes())
        for condition in asked.conditions:
            self.settings(asked, condition, asked.seeds[0])
        return asked

    def settings(self, plan: Plan, condition: str, seed: int) -> Settings:
        """The settings of one condition and seed."""
        preset, changes = CONDITIONS[condition]
        config = setting.PROJECT_FILE.parent / "config" / preset if preset else None
        return calibrated(self.load_settings(config, (*plan.changes, *changes), seed))


def run_lab(out: Path, asked: Asked, form: str) -> None:
    """Run what is missing, then print and draw.

    Args:
        out: The lab's folder.
        asked: What to run, and on which data.
        form: How to print, see `publish`.

    Raises:
        UsageError: something asked for is wrong, or the folder has another lab.
        DataError: the images are missing, unreadable or too few, or have several findings.
    """
    plan, folder = asked.plan(), LabFolder(resolved(out))
    # Which seeds, attacks and conditions are wanted may change from one call to the next: what was run stays.
    fixed = {key: value for key, value in asdict(plan).items() if key not in ("seeds", "attacks", "conditions")}
    settle(folder.path, {"data": asked.data, **fixed})
    prepare(
        folder.path,
        [
            (
                folder.data(condition, seed),
                f"{condition}, seed {seed}",
                functools.partial(asked.settings, plan, condition, seed),
            )
            for condition in plan.conditions
            for seed in plan.seeds
        ],
    )
    run = functools.partial(run_unit, folder, plan, LedgerInquiry)
    for title, units in (("Clean rounds", list(clean_units(plan))), ("Attacks", list(attack_units(plan)))):
        with console.bar(title) as report:
            run_units(folder.results, units, run, report)
    results = results_of(folder.results, [*clean_units(plan), *attack_units(plan)])
    settings = asked.settings(plan, plan.conditions[0], plan.seeds[0])
    summary = summarize(plan, results, reject_quorum(settings, settings.data.hospitals))
    plot_success(folder.path / "success.png", plan, results)
    plot_detection(folder.path / "detection.png", summary)
    found = [unit for unit in attack_units(plan) if unit.seed == plan.seeds[0] and folder.triggers(unit).exists()]
    drawn = [(str(unit.attack), kept_as(Triggers, folder.triggers(unit))) for unit in found]
    plot_triggers(folder.path / "triggers.png", drawn)
    publish(folder.path, asked.made("backdoor", out), summary, sheets(summary), form)
