"""`main.py lab leakage --run`: attacks a finished run from what each of its parties holds, prints and draws."""

import functools
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commands import console
from commands.lab.lab_folder import JSON, publish, settle
from commands.lab.leakage_run.holdings import Held, by_address, chosen_rounds
from commands.lab.leakage_run.opened_rounds import OpenedRound, opened_rounds
from commands.lab.leakage_run.tables import sheets
from commands.lab.leakage_run.views import Scene, repeated_updates, views_of
from commands.lab.report.run_facts import RunFacts, facts_of
from commands.lab.run_images import images_of
from fedward.errors import UsageError, VerificationError
from fedward.files import resolved
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.labs.lab_folder import LabFolder, keep, kept_as
from fedward.labs.leakage.inversion import SHRUNK
from fedward.labs.leakage.parties import FULL, QUICK, Effort
from fedward.labs.leakage.party_pictures import Found, plot_parties
from fedward.labs.leakage.party_running import PartyUnit, run_unit
from fedward.labs.leakage.party_summary import THREAT_MODEL, faults, judge, row_of, sentence_of
from fedward.labs.units import results_of, run_units
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.settings import Settings, from_tables
from fedward.tables import listed
from fedward.types import GlobalModel


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line.

    Attributes:
        run: The run's folder.
        data: Where its images are; empty: where the run read them.
        rounds: A list; empty: the first and the last.
        full: Whether more attempts are made.
    """

    run: Path
    data: str
    rounds: str
    full: bool

    @property
    def effort(self) -> Effort:
        """How hard parties are attacked."""
        return FULL if self.full else QUICK

    def round_numbers(self) -> tuple[int, ...]:
        """The rounds that were asked for.

        Raises:
            UsageError: they are no whole numbers.
        """
        try:
            return tuple(int(index) for index in listed(self.rounds))
        except ValueError as error:
            raise UsageError(f"--rounds {self.rounds} is no list of whole numbers.", "Write --rounds 1,3.") from error

    def made(self, source: str, out: Path, facts: RunFacts) -> dict[str, str]:
        """How the figures come to be, for reports."""
        words = ["main.py", "lab", "leakage", "--run", str(self.run), "--data", source, "--out", str(out)]
        words += [*(["--rounds", self.rounds] if self.rounds else []), *(["--full"] if self.full else [])]
        digest = facts.model.weights_sha256.hex()
        return {"lab": "leakage-run", "command": shlex.join(words), "data": source, "model_digest": digest}


def audit_run(out: Path, asked: Asked, form: str) -> None:
    """Attack a run, then print and draw; what an interrupted call has done is not done again.

    Args:
        out: The lab's folder.
        asked: Which run, and how.
        form: How to print, see `publish`.

    Raises:
        UsageError: something asked for is wrong, or the folder has another lab.
        EvidenceError: the run is not finished, or a file of it is missing or damaged.
        DataError: the images are missing or are not the run's.
        VerificationError: a control failed; all is printed before.
    """
    run, wanted, folder = SimulationFolder(asked.run), asked.round_numbers(), LabFolder(resolved(out))
    if folder.path.is_relative_to(resolved(asked.run)):
        raise UsageError(f"{out} lies in the run, which is evidence.", "Give --out another folder.")
    facts, record = facts_of(asked.run), run.server.load_record()
    settings = from_tables(record.settings)
    if settings.data.image_size % SHRUNK:
        raise UsageError(f"The lab cannot attack images of {settings.data.image_size} pixels a side.", "Run another.")
    if form != JSON:
        console.note(THREAT_MODEL)
    source = asked.data or settings.data.source
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(record.findings))
    classifier = Classifier(spec, settings.training.seed, settings.model.weights)
    rounds = _rounds(run, record, settings, classifier, wanted)
    scene = Scene(run, settings, classifier, images_of(run, settings, source), asked.effort)
    of = {"run": facts.run_id, "model": facts.model.weights_sha256.hex(), "data": source, **asdict(asked.effort)}
    settle(folder.path, of)
    rows, missing = _attack(folder, scene, spec, rounds, record)
    verdict, found = sentence_of(rows, missing), faults(rows)
    summary = {
        "threat_model": THREAT_MODEL,
        "training": _training(settings, rounds),
        "rows": rows,
        "missing": missing,
        "faults": found,
        "verdict": verdict,
    }
    publish(folder.path, asked.made(source, out, facts), summary, sheets(summary), form)
    if form != JSON:
        console.note(verdict)
    if found:
        raise VerificationError(f"The lab fails its own controls: {'; '.join(found)}.", "Believe no row.")


def _rounds(
    run: SimulationFolder, record: RunRecord, settings: Settings, classifier: Classifier, wanted: Sequence[int]
) -> list[OpenedRound]:
    """The rounds that are attacked."""
    first = GlobalModel(classifier.get_weights(), bytes(32))
    opened = {each.round_index: each for each in opened_rounds(run, record, settings, first, record.roster[0].hospital)}
    return [opened[index] for index in chosen_rounds(wanted, list(opened))]


def _attack(
    folder: LabFolder, scene: Scene, spec: ModelSpec, rounds: Sequence[OpenedRound], record: RunRecord
) -> tuple[list[dict[str, Any]], list[str]]:
    """Attack every view of every round: the rows, and what could not be attacked.

    Views lie in a folder of this user's alone, and only as long as they are attacked: they hold opened sums.
    """
    held, missing = dict[PartyUnit, Held](), list[str]()
    members = [(member.address, member.hospital) for member in record.roster]
    with tempfile.TemporaryDirectory(prefix="fedward-") as place:
        for opened in rounds:
            names = by_address(opened.included, members)
            repeated = repeated_updates(scene, opened, names)
            if isinstance(repeated, str):
                missing.append(repeated)
            for number, (who, view) in enumerate(views_of(scene, opened, names, repeated)):
                unit = PartyUnit(opened.round_index, number)
                held[unit] = who
                keep(Path(place) / f"{unit.name}.npz", view)
        with console.bar("Attacking what parties hold") as report:
            run_units(
                folder.results, held, functools.partial(run_unit, Path(place), folder, spec, scene.effort), report
            )
    found = results_of(folder.results, held)
    rows = [
        row_of(
            {"round": unit.round_index, "party": who.party, "holds": who.holds, "files": list(who.files)}, found[unit]
        )
        for unit, who in held.items()
    ]
    judge(rows)
    pictures = [
        (f"{who.party}, round {unit.round_index}", kept_as(Found, folder.picture(unit))) for unit, who in held.items()
    ]
    plot_parties(folder.path / "parties.png", pictures)
    return rows, list(dict.fromkeys(missing))


def _training(settings: Settings, rounds: Sequence[OpenedRound]) -> str:
    """How hospitals trained, in words."""
    training, privacy = settings.training, settings.privacy
    weights = [entry.weight for entry in rounds[0].included]
    images = f"{min(weights)} to {max(weights)} images a hospital"
    if privacy.mode == "sample":
        return f"{settings.model.name}, {images}, {privacy.steps} steps of DP-SGD"
    steps = training.local_epochs * -(-max(weights) // training.batch_size)
    noise = "" if privacy.mode == "none" else f", clipped to {privacy.clip_norm:g} with noise"
    return f"{settings.model.name}, {images}, {steps} steps of Adam on {training.batch_size} images each{noise}"
