"""`main.py info`: the settings in effect, what else can be chosen, and what is and is not protected, in sentences."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from rich.table import Table

from commands import console
from fedward import settings as setting
from fedward.folders.simulation import SimulationFolder
from fedward.plugins import KINDS
from fedward.privacy.accounting import calibrated, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.settings import Settings, to_tables
from fedward.sharing.terms import default_threshold
from fedward.tables import nested, parse_assignment

DEFAULT_PARAMETERS = 97_521  # of the small CNN with one finding


@dataclass(frozen=True)
class Effective:
    """The settings in effect, with the number of hospitals and of parameters that they are for.

    Attributes:
        settings: All settings.
        hospitals: Number of hospitals on the roster.
        parameters: Number of the model's parameters.
    """

    settings: Settings
    hospitals: int
    parameters: int


def effective(run: Path | None, config: Path | None, assignments: Sequence[str]) -> Effective:
    """The settings in effect: of a run, or without one of a new run.

    Args:
        run: A run folder, or None.
        config: TOML file with settings of a new run, or None.
        assignments: Further settings, as `TABLE.KEY=VALUE`.

    Raises:
        EvidenceError: the folder holds no run.
        UsageError: a setting is unknown or out of range, or the run is of another version with other settings.
    """
    if run is not None:
        record = SimulationFolder(run).server.load_record()
        return Effective(setting.from_run(record.settings), len(record.roster), record.parameters)
    settings = calibrated(setting.load(config, *(parse_assignment(text) for text in assignments)))
    return Effective(settings, settings.data.hospitals, DEFAULT_PARAMETERS)


def show_sheet(settings: Settings, as_json: bool) -> None:
    """Print settings, what else can be chosen, and what is and is not protected under them."""
    tables, protection = to_tables(settings), protections(settings)
    if as_json:
        digest = settings.digest().hex()
        console.data({"settings": tables, "settings_digest": digest, "choices": choices(), "protection": protection})
        return
    console.out.print(tomli_w.dumps(nested(tables)).strip(), markup=False)
    console.out.print(_choices_table())
    table = Table(title="\nWhat is and is not protected", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for what, how in protection.items():
        table.add_row(what, how)
    console.out.print(table)


def choices() -> dict[str, dict[str, str]]:
    """What can be chosen by name: by setting, each name and what it stands for."""
    return {dotted: {name: plugin.about for name, plugin in registry.items()} for dotted, registry in KINDS.items()}


def _choices_table() -> Table:
    """What can be chosen by name, as a table."""
    table = Table("setting", "name", "what it is", title="\nWhat can be chosen", title_justify="left")
    for dotted, names in choices().items():
        for place, (name, about) in enumerate(names.items()):
            table.add_row("" if place else dotted, name, about)
    return table


def protections(settings: Settings) -> dict[str, str]:
    """What these settings protect, by which means and against whom, in one sentence each."""
    return {
        "Images": f"never leave the hospital that holds them. {_at_rest_sentence(settings)}",
        "Updates, from the server": "encrypted (CKKS, 128 bits) under a key of each hospital and round, which is dealt "
        "to the hospitals in shares and forgotten; the server never holds a share or a key.",
        "Updates, from other hospitals": _threshold_sentence(settings),
        "Patients, from the model": _privacy_sentence(settings),
        "The history": "every update, aggregate and vote is committed on the ledger; one operator could still withhold "
        "or rewrite it unless hospitals keep their checkpoints.",
        "The aggregate": "its hash proves that all hospitals got the same sum; only adding the ciphertexts again "
        "proves that it is the right one.",
        "The model, from backdoors": _backdoor_sentence(settings),
        "What hospitals declare": "example counts and noise are declared, not proven; validation counts and score "
        f"histograms are shared {'encrypted, but ' if settings.metrics.encrypted else ''}without noise.",
    }


def _at_rest_sentence(settings: Settings) -> str:
    """What a hospital's disk tells of its images."""
    if settings.image_encryption.at_rest:
        return "On its disk they are sealed, under a key that follows from its account's."
    return "On its disk they lie in the clear, and decoded ones in a cache."


def _threshold_sentence(settings: Settings) -> str:
    """How many hospitals it takes to open one update."""
    hospitals = settings.data.hospitals
    threshold = settings.ledger.release_threshold or default_threshold(hospitals)
    if hospitals == 2:
        return "not protected: of two hospitals, each can take its own update off the sum."
    return (
        f"fewer than {threshold} of {hospitals} hospitals together open nothing but the sum; all included hospitals "
        "but one can take their own updates off it."
    )


def _backdoor_sentence(settings: Settings) -> str:
    """What the chosen detectors can and cannot find."""
    if not settings.detectors.chosen():
        return "not protected: detectors.names is empty, so hospitals accept every candidate that decodes."
    return (
        "each hospital judges candidates on its own images, and whoever ruins rounds is named and suspended; poison "
        "that moves the model less than honest rounds do passes for a while, and voting hospitals can be outvoted."
    )


UNIT_MEANS = {
    "hospital": "It bounds how well a hospital's update can be told from noise around nothing; to tell data with one "
    "patient from data without, or any two data sets of a hospital: epsilon {either:.3g}.",
    "patient": "It bounds what shows of all training images of one patient of one hospital; where the source names no "
    "patients, of one image.",
    "image": "It bounds what shows of one training image; a patient with several images is covered less.",
}


def _privacy_sentence(settings: Settings) -> str:
    """What differential privacy guarantees under these settings."""
    if settings.privacy.mode == "none":
        return "not protected: privacy.mode is none, so the model may remember single images."
    event, rounds = expected_event(settings.privacy), settings.training.rounds
    # Two clipped updates can be twice the clip norm apart, which the accountant sees as half the noise.
    halved = dataclasses.replace(event, noise_multiplier=event.noise_multiplier / 2)
    meaning = UNIT_MEANS[event.unit].format(either=epsilon([halved] * rounds))
    return (
        f"differential privacy for the unit '{event.unit}': epsilon {epsilon([event] * rounds):.3g} at delta "
        f"{settings.privacy.delta:g} after {rounds} rounds of this run alone. {meaning}"
    )
