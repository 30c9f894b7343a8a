"""Options of `main.py simulate`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click
import typer

from commands import console
from commands.tracking.tracking import Tracker, check_tracker
from fedward import settings as setting
from fedward.dataset.naming import asked_finding
from fedward.errors import UsageError
from fedward.plugins import PRIVACY_MODES
from fedward.settings import Settings
from fedward.tables import Scalar, parse_assignment

if TYPE_CHECKING:
    from commands.simulate.attacking import PlannedAttack

_Partition = Literal["iid", "dirichlet", "by-column"]


def simulate(
    data: Annotated[str | None, typer.Option(help="Folder, .npz file, or 'synthetic'.")] = None,
    finding: Annotated[str | None, typer.Option(help="What to find: a class or finding, 'any' or 'all'.")] = None,
    positive: Annotated[str | None, typer.Option(help="The class that counts as found; as --finding NAME.")] = None,
    hospitals: Annotated[int | None, typer.Option(help="How many hospitals take part.")] = None,
    rounds: Annotated[int | None, typer.Option(help="How many rounds are decided.")] = None,
    local_epochs: Annotated[int | None, typer.Option(help="Epochs at each hospital in a round.")] = None,
    partition: Annotated[_Partition | None, typer.Option(help="How patients are shared out.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of dirichlet: smaller is more skewed.")] = None,
    column: Annotated[str | None, typer.Option(help="Of by-column: column of the metadata.")] = None,
    patients: Annotated[
        str | None, typer.Option(metavar="FILE.csv", help="Table of image and patient, believed before all else.")
    ] = None,
    patient_regex: Annotated[
        str | None, typer.Option(help="Takes the patient from an image's path: its first group.")
    ] = None,
    privacy: Annotated[
        str | None, typer.Option(click_type=click.Choice(tuple(PRIVACY_MODES)), help="What is protected by noise.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Any setting; see 'info'.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides splits, initial weights and order.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<UTC time>.")] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also train each hospital alone, and on all images in one place.")
    ] = False,
    attack: Annotated[
        str | None, typer.Option(metavar="NAME[:OPTION=VALUE,...]", help="Let the last hospitals attack the model.")
    ] = None,
    attackers: Annotated[int, typer.Option(help="Of --attack: how many hospitals are malicious.")] = 1,
    attack_from: Annotated[int, typer.Option(min=1, help="Of --attack: the first round.")] = 1,
    tracking: Annotated[Tracker | None, typer.Option(help="Also write settings and figures there.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what was understood of the data, and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
) -> None:
    """Simulate a federation of hospitals on this machine."""
    flags: list[tuple[str, Scalar | None]] = [
        ("data.source", data), ("data.finding", asked_finding(finding, positive)), ("data.hospitals", hospitals),
        ("training.rounds", rounds), ("training.local-epochs", local_epochs), ("data.partition", partition),
        ("data.alpha", alpha), ("data.column", column), ("data.patients", patients),
        ("data.patient-regex", patient_regex), ("privacy.mode", privacy), ("training.seed", seed),
    ]  # fmt: skip
    given = [(key, value) for key, value in flags if value is not None]
    given += [parse_assignment(text) for text in assignments or ()]
    check_tracker(tracking)
    if resume:
        if out is None or config or given or dry_run or attack:
            raise UsageError("--resume takes a run's settings from its folder.", "Give --out and no other setting.")
        _see_through(out, None, baselines, None, tracking)
        return
    settings = _load(config, given)
    if dry_run:
        from commands.simulate.reading import show_reading

        show_reading(settings)
        return
    planned = _planned(attack, attackers, attack_from, settings) if attack else None
    _see_through(out or _new_folder(), settings, baselines, planned, tracking)


def _new_folder() -> Path:
    """A run's folder where none is named."""
    return Path("runs") / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"


def _planned(attack: str, attackers: int, first_round: int, settings: Settings) -> "PlannedAttack":
    """The attack that was asked for, checked."""
    from commands.simulate.attacking import PlannedAttack

    planned = PlannedAttack(attack, attackers, first_round)
    planned.check(settings.data.hospitals, settings.training.rounds)
    return planned


def _load(config: Path | None, given: list[tuple[str, Scalar]]) -> Settings:
    """The settings of a new run, with what they lack of privacy said."""
    from fedward.privacy.accounting import calibrated

    settings = calibrated(allow_two_hospitals(setting.load(config, *given)))
    if settings.privacy.mode == "none":
        console.warn("No differential privacy: updates are encrypted, but the model may remember patients.")
    return settings


def _see_through(
    folder: Path,
    settings: Settings | None,
    baselines: bool,
    planned: "PlannedAttack | None",
    tracker: Tracker | None,
) -> None:
    """Run a simulation to its end, or without settings continue one, and print its table."""
    # TensorFlow takes seconds to import: a wrong setting is said before.
    from commands.simulate.simulation import simulate_further, simulate_new
    from fedward.figures.reporting import final_table
    from fedward.folders.simulation import SimulationFolder

    summary = (
        simulate_new(folder, settings, baselines, planned, tracker)
        if settings
        else simulate_further(SimulationFolder(folder), baselines, tracker)
    )
    console.out.print(final_table(summary, folder))


def allow_two_hospitals(settings: Settings) -> Settings:
    """Lower `ledger.min-included` to two for a simulation of two hospitals, with a warning.

    Raises:
        UsageError: there are fewer hospitals than that setting asks for, and not just two.
    """
    if settings.data.hospitals >= settings.ledger.min_included:
        return settings
    if settings.data.hospitals == 2:
        console.warn("With two hospitals, each can work out the other's update from the sum.")
        return setting.replace(settings, "ledger.min-included", 2)
    raise UsageError(
        f"{settings.data.hospitals} hospitals are fewer than ledger.min-included {settings.ledger.min_included}.",
        "Use more hospitals or lower it.",
    )
