"""`main.py lab membership`: who can tell that a patient was trained on, and what epsilon that shows at least."""

import functools
from dataclasses import dataclass
from pathlib import Path

from commands import console
from commands.lab.lab_folder import JSON, begin, publish
from commands.lab.membership_tables import sheets
from commands.lab.wishes import Wishes
from fedward import settings as setting
from fedward.errors import UsageError, VerificationError
from fedward.files import resolved
from fedward.labs.membership.pictures import plot_curves, plot_epsilons
from fedward.labs.membership.plan import FULL, QUICK, Plan, all_units
from fedward.labs.membership.running import MEMORY_MODEL, LabFolder, load_scored, run_unit
from fedward.labs.membership.summary import THREAT_MODEL, summarize
from fedward.labs.narrowing import narrowed
from fedward.labs.units import results_of, run_units
from fedward.privacy.accounting import calibrated
from fedward.settings import Settings, to_tables
from fedward.tables import Tables, listed


@dataclass(frozen=True)
class Asked(Wishes):
    """What was asked for on the command line, as it was given.

    Attributes:
        cases: A list of those that alone are run, or nothing.
    """

    cases: str = ""

    def plan(self) -> Plan:
        """What to run.

        Raises:
            UsageError: a seed, case or setting is wrong.
        """
        whole, wanted = FULL if self.full else QUICK, listed(self.cases)
        known = [case.name.replace(", ", "-").replace(" ", "-") for case in whole.cases]
        for each in wanted:
            if each not in known:
                raise UsageError(f"The plan has no case {each!r}.", f"Choose from {', '.join(known)}.")
        names = [case.name for case, name in zip(whole.cases, known, strict=True) if name in wanted]
        plan = narrowed(whole, self.seed_numbers(), names, self.changes())
        self.settings(plan, plan.seeds[0])
        return plan

    def settings(self, plan: Plan, seed: int) -> Settings:
        """The settings of the images of one seed."""
        return self.load_settings(None, plan.changes, seed)

    def trainings(self, plan: Plan) -> dict[str, Tables]:
        """By preset, its settings as tables, with noise that is final; the plan says how many hospitals there are."""
        folder = setting.PROJECT_FILE.parent / "config"
        presets = dict.fromkeys([MEMORY_MODEL, *(case.preset for case in plan.cases)])
        return {
            name: to_tables(calibrated(self.load_settings(folder / f"{name}.toml", plan.changes, plan.seeds[0])))
            for name in presets
        }


def run_lab(out: Path, asked: Asked, form: str) -> None:
    """Run what is missing, then print and draw.

    Args:
        out: The lab's folder.
        asked: What to run, and on which data.
        form: How to print, see `publish`.

    Raises:
        UsageError: something asked for is wrong, or the folder has another lab.
        DataError: the images are missing, unreadable or too few, or have several findings.
        VerificationError: a control failed, or more is found than a training states; all is printed before.
    """
    plan, folder = asked.plan(), LabFolder(resolved(out))
    if form != JSON:
        console.note(THREAT_MODEL)
    given = asked.trainings(plan)
    begin(folder, asked, plan, free=("seeds", "cases"))
    units = list(all_units(plan))
    with console.bar("Training models and attacking them") as report:
        run_units(folder.results, units, functools.partial(run_unit, folder, plan, given), report)
    found = results_of(folder.results, units)
    summary = summarize(plan, found, {unit: load_scored(folder, unit) for unit in found})
    plot_curves(folder.path / "curves.png", summary["rows"])
    plot_epsilons(folder.path / "epsilons.png", summary["rows"])
    publish(folder.path, asked.made("membership", out), summary, sheets(summary), form)
    if form != JSON:
        console.note(summary["verdict"])
    if summary["faults"]:
        raise VerificationError(f"The lab finds a fault: {'; '.join(summary['faults'])}.", "Believe no row before.")
