"""`main.py lab image-encryption`: trains, encrypts and measures what is missing; prints and draws."""

import functools
from dataclasses import dataclass
from pathlib import Path

from commands import console
from commands.lab.image_encryption_tables import sheets
from commands.lab.lab_folder import JSON, begin, publish
from commands.lab.wishes import Wishes
from fedward.files import resolved
from fedward.labs.image_encryption.pictures import plot_attackers, plot_images
from fedward.labs.image_encryption.plan import FULL, QUICK, Plan, Unit, method_units, model_units, narrowed
from fedward.labs.image_encryption.running import LabFolder, load_picture, run_unit
from fedward.labs.image_encryption.summary import summarize
from fedward.labs.units import results_of, run_units
from fedward.settings import Settings


@dataclass(frozen=True)
class Asked(Wishes):
    """What was asked for on the command line, as it was given.

    Attributes:
        methods: In place of the plan's, or none.
    """

    methods: tuple[str, ...] = ()

    def plan(self) -> Plan:
        """What to run.

        Raises:
            UsageError: a seed, method or setting is wrong.
        """
        plan = narrowed(FULL if self.full else QUICK, self.seed_numbers(), self.methods, self.changes())
        self.settings(plan, plan.seeds[0])
        return plan

    def settings(self, plan: Plan, seed: int) -> Settings:
        """The federation's settings of one seed."""
        return self.load_settings(None, plan.changes, seed)


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
    begin(folder, asked, plan, free=("seeds", "methods"))
    run = functools.partial(run_unit, folder, plan)
    units = list(method_units(plan))
    for title, wanted in (("Training classifiers", list(model_units(plan))), ("Encrypting", units)):
        with console.bar(title) as report:
            run_units(folder.results, wanted, run, report)
    summary = summarize(plan, results_of(folder.results, units))
    for method in plan.methods:
        first = Unit(plan.seeds[0], method)
        plot_images(folder.path / f"{first.name}.png", load_picture(folder.picture(first)), method)
    plot_attackers(folder.path / "attackers.png", summary)
    publish(folder.path, asked.made("image-encryption", out), summary, sheets(summary), form)
    if form != JSON:
        console.note(summary["verdict"])
