"""`main.py lab leakage`: attacks updates, prints what they give away, and draws it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commands import console
from commands.lab.lab_folder import JSON, begin, publish
from commands.lab.leakage_encryption import RoundOfHospitals
from commands.lab.leakage_tables import sheets
from commands.lab.wishes import Wishes
from fedward import settings as setting
from fedward.errors import UsageError, VerificationError
from fedward.files import resolved
from fedward.labs.leakage.inversion import SHRUNK
from fedward.labs.leakage.pictures import chunks, plot_found, plot_rows
from fedward.labs.leakage.plan import (
    FULL,
    PRESETS,
    QUICK,
    Case,
    Plan,
    Unit,
    case_units,
    cleaning_units,
    denoiser_units,
)
from fedward.labs.leakage.running import Given, LabFolder, check_enough, load_picture, run_unit
from fedward.labs.leakage.summary import THREAT_MODEL, row_name, summarize
from fedward.labs.narrowing import narrowed
from fedward.labs.units import results_of, run_units
from fedward.privacy.accounting import calibrated
from fedward.reconstruction.shape import STEP
from fedward.settings import Settings
from fedward.tables import listed


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
            UsageError: a seed, case or setting is wrong, or images would have a size that cannot be attacked.
        """
        whole, wanted = FULL if self.full else QUICK, listed(self.cases)
        known = [case.name for case in whole.cases]
        for each in wanted:
            if each not in known:
                raise UsageError(f"The plan has no case {each!r}.", f"Choose from {', '.join(known)}.")
        plan = narrowed(whole, self.seed_numbers(), wanted, self.changes())
        settings = self.settings(plan, plan.seeds[0])
        if settings.privacy.mode != "none":
            raise UsageError("The lab adds noise itself, to single rows.", "Leave privacy.mode away.")
        size = settings.data.image_size
        if size % (STEP if plan.pairs else SHRUNK):
            raise UsageError(f"The lab cannot attack images of {size} pixels a side.", "Choose a multiple of 16.")
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
        VerificationError: the lab missed its planted leak, or found one in noise; all is printed before.
    """
    plan, folder = asked.plan(), LabFolder(resolved(out))
    if form != JSON:
        console.note(THREAT_MODEL)
    begin(folder, asked, plan, free=("seeds", "cases"))
    settings = asked.settings(plan, plan.seeds[0])
    given = Given(RoundOfHospitals(settings.encryption, settings.privacy), preset_noise())
    check_enough(folder, plan, given)
    run = functools.partial(run_unit, folder, plan, given)
    units = list(case_units(plan))
    cleaning = list(cleaning_units(plan))
    for title, wanted in (
        ("Attacking updates", units),
        ("Training denoisers", list(denoiser_units(plan))),
        ("Cleaning what was found", cleaning),
    ):
        if wanted:
            with console.bar(title) as report:
                run_units(folder.results, wanted, run, report)
    summary = summarize(plan, results_of(folder.results, [*units, *cleaning]))
    _draw(folder, plan, summary["rows"])
    publish(folder.path, asked.made("leakage", out), summary, sheets(summary), form)
    if form != JSON:
        console.note(summary["verdict"])
    if summary["faults"]:
        raise VerificationError(f"The lab fails its own controls: {'; '.join(summary['faults'])}.", "Believe no row.")


def preset_noise() -> Mapping[str, tuple[float, float]]:
    """Clip norm and noise multiplier of one step, of the private presets."""
    folder = setting.PROJECT_FILE.parent / "config"
    found = {name: calibrated(setting.load(folder / f"{name}.toml")).privacy for name in PRESETS}
    return {name: (privacy.clip_norm, privacy.noise_multiplier) for name, privacy in found.items()}


def _draw(folder: LabFolder, plan: Plan, rows: list[Mapping[str, object]]) -> None:
    plain = [case for case in plan.cases if case == Case(case.obfuscation)]
    found = {case.obfuscation: [load_picture(folder, Unit(seed, case)) for seed in plan.seeds] for case in plain}
    for number, part in enumerate(chunks(found), 1):
        plot_found(folder.path / f"found-{number}.png", part, "One image a hospital: the best attempt on its update")
    plot_rows(folder.path / "rows.png", rows, [row_name(row) for row in rows])
