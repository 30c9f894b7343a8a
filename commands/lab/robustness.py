"""`main.py lab robustness`: trains, attacks and measures what is missing; prints and draws."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commands import console
from commands.lab.lab_folder import JSON, begin, publish
from commands.lab.robustness_tables import sheets
from commands.lab.wishes import Wishes
from fedward.errors import UsageError, VerificationError
from fedward.files import resolved
from fedward.labs.robustness.pictures import plot_attacked, plot_curves
from fedward.labs.robustness.plan import (
    DEFENSES,
    FULL,
    NONE,
    QUICK,
    Plan,
    Unit,
    first_units,
    narrowed,
    other_units,
    training_units,
)
from fedward.labs.robustness.running import LabFolder, load_picture, run_unit
from fedward.labs.robustness.summary import summarize
from fedward.labs.units import results_of, run_units
from fedward.settings import Settings
from fedward.tables import listed

THREAT = (
    "The attacker changes images before they are read, each pixel by no more than a bound. Transfer: he has the"
    " undefended classifier, and not the defense. White-box: he has all of the defended classifier. He never touches"
    " training, and 'pixels' alone keeps to no bound but a number of pixels."
)


@dataclass(frozen=True)
class Asked(Wishes):
    """What was asked for on the command line, as it was given.

    Attributes:
        attacks: In place of the plan's, or none.
        defenses: A list in place of the plan's, or nothing.
    """

    attacks: tuple[str, ...] = ()
    defenses: str = ""

    def plan(self) -> Plan:
        """What to run.

        Raises:
            UsageError: a seed, attack, defense or setting is wrong.
        """
        wanted = listed(self.defenses)
        for each in wanted:
            if each not in DEFENSES:
                raise UsageError(f"There is no defense {each!r}.", f"Choose from {', '.join(DEFENSES)}.")
        plan = narrowed(FULL if self.full else QUICK, self.seed_numbers(), self.attacks, wanted, self.changes())
        for seed in plan.seeds:
            self.settings(plan, seed)
        return plan

    def settings(self, plan: Plan, seed: int) -> Settings:
        """The federation's settings of one seed.

        Raises:
            UsageError: they train on attacked images already, or a model that has no way to.
        """
        settings = self.load_settings(None, plan.changes, seed)
        if settings.training.adversarial != "none" or settings.model.name == "scatter":
            raise UsageError(
                "The lab trains with and without attacked images itself, and cannot do so with the model scatter.",
                "Leave training.adversarial away, and choose --set model.name=cnn.",
            )
        return settings


def run_lab(out: Path, asked: Asked, form: str) -> None:
    """Run what is missing, then print and draw.

    Args:
        out: The lab's folder.
        asked: What to run, and on which data.
        form: How to print, see `publish`.

    Raises:
        UsageError: something asked for is wrong, or the folder has another lab.
        DataError: the images are missing, unreadable or too few, or have several findings.
        VerificationError: a defense's white-box figures are too good to be true; all is printed before.
    """
    plan, folder = asked.plan(), LabFolder(resolved(out))
    if form != JSON:
        console.note(THREAT)
    begin(folder, asked, plan, free=("seeds", "defenses"))
    wanted = list(training_units(plan))
    with console.bar("Training classifiers") as report:
        run_units(folder.results, wanted, functools.partial(run_unit, folder, plan), report)
    attack_and_publish(folder, plan, asked.made("robustness", out), form)


def attack_and_publish(folder: LabFolder, plan: Plan, made: Mapping[str, str], form: str) -> None:
    """Attack what is trained, as far as it was not attacked yet, then print and draw.

    Args:
        folder: The lab's, with images and classifiers.
        plan: What to run.
        made: How the figures come to be, see `publish`.
        form: How to print, see `publish`.

    Raises:
        VerificationError: a defense's white-box figures are too good to be true; all is printed before.
    """
    first, others = list(first_units(plan)), list(other_units(plan))
    for title, wanted in (
        ("Attacking the undefended one", first),
        ("Attacking defenses", others),
    ):
        with console.bar(title) as report:
            run_units(folder.results, wanted, functools.partial(run_unit, folder, plan), report)
    summary = summarize(plan, results_of(folder.results, [*first, *others]))
    plot_curves(folder.path / "curves.png", summary)
    shown = Unit(plan.seeds[0], "attack", NONE)
    attack = (folder.results.of(shown) or {}).get("shown", "")
    plot_attacked(folder.path / "attacked.png", load_picture(folder, shown), f"{attack}: {max(plan.eps):g}/255")
    publish(folder.path, made, summary, sheets(summary), form)
    if form != JSON:
        console.note(summary["verdict"])
    if summary["masking"]:
        raise VerificationError(
            f"Attacks seem to fail for hidden gradients: {'; '.join(summary['masking'])}.",
            "Believe no white-box figure of that defense; attack it otherwise.",
        )
