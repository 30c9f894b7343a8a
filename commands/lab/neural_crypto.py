"""`main.py lab neural-crypto`: trains ciphers and those who attack them, prints what broke, and draws."""

import functools
from dataclasses import dataclass
from pathlib import Path

from commands import console
from commands.lab.lab_folder import JSON, begin, publish
from commands.lab.neural_crypto_tables import sheets
from commands.lab.wishes import Wishes
from fedward.errors import UsageError
from fedward.files import resolved
from fedward.labs.neural_crypto.autoencoder import SIDE
from fedward.labs.neural_crypto.pictures import plot_break, plot_images, plot_known
from fedward.labs.neural_crypto.plan import FULL, QUICK, Plan, Unit, cipher_units, model_units, narrowed
from fedward.labs.neural_crypto.running import LabFolder, load_picture, run_unit
from fedward.labs.neural_crypto.summary import THREAT_MODEL, summarize
from fedward.labs.units import results_of, run_units
from fedward.settings import Settings


@dataclass(frozen=True)
class Asked(Wishes):
    """What was asked for on the command line, as it was given."""

    def plan(self) -> Plan:
        """What to run.

        Raises:
            UsageError: a seed or setting is wrong, or images would have another size than the published.
        """
        plan = narrowed(FULL if self.full else QUICK, self.seed_numbers(), self.changes())
        size = self.settings(plan, plan.seeds[0]).data.image_size
        if size != SIDE:
            raise UsageError(
                f"The published autoencoder takes images of {SIDE} pixels a side, not {size}.",
                "Leave data.image-size away.",
            )
        return plan

    def settings(self, plan: Plan, seed: int) -> Settings:
        """The settings of one seed."""
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
    begin(folder, asked, plan, free=("seeds",))
    if form != JSON:
        console.note(THREAT_MODEL)
    run = functools.partial(run_unit, folder, plan)
    models, units = list(model_units(plan)), list(cipher_units(plan))
    for title, wanted in (("Training ciphers", models), ("Attacking them", units)):
        with console.bar(title) as report:
            run_units(folder.results, wanted, run, report)
    summary = summarize(plan, results_of(folder.results, units), list(results_of(folder.results, models).values()))
    for cipher in plan.ciphers:
        first = Unit(plan.seeds[0], cipher)
        plot_images(folder.path / f"{first.name}.png", load_picture(folder.picture(first)), cipher)
    plot_break(folder.path / "affine-attack.png", summary["affine_attack"])
    plot_known(folder.path / "known-plaintexts.png", summary)
    publish(folder.path, asked.made("neural-crypto", out), summary, sheets(summary), form)
    if form != JSON:
        console.note(summary["verdict"])
