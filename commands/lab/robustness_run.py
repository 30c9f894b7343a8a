"""`main.py lab robustness --run`: attacks the model of a finished run, as it is and behind defenses."""

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commands import console
from commands.lab.lab_folder import JSON, settle
from commands.lab.report.run_facts import RunFacts, facts_of
from commands.lab.robustness import THREAT, attack_and_publish
from commands.lab.run_images import images_of
from fedward.errors import EvidenceError, UsageError
from fedward.files import resolved
from fedward.folders.simulation import SimulationFolder
from fedward.labs.hospitals_data import has_hospitals, save_hospitals
from fedward.labs.lab_folder import keep_arrays
from fedward.labs.robustness.plan import BEFORE, FULL, NONE, QUICK, Plan, narrowed
from fedward.labs.robustness.running import LabFolder
from fedward.learning.digest import weights_digest
from fedward.learning.stored_model import read_model
from fedward.settings import Settings, from_tables
from fedward.tables import listed


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line.

    Attributes:
        run: The run's folder.
        data: Where its images are; empty: where the run read them.
        full: Whether the plan for documents is run, or the quick one.
        attacks: In place of the plan's, or none.
        defenses: A list of such as stand before a classifier; empty: JPEG, which is not learned.
    """

    run: Path
    data: str
    full: bool
    attacks: tuple[str, ...] = ()
    defenses: str = ""

    def plan(self, seed: int) -> Plan:
        """What to run.

        Args:
            seed: The run's.

        Raises:
            UsageError: an attack or defense is wrong.
        """
        wanted = listed(self.defenses)
        for each in wanted:
            if each not in (NONE, *BEFORE):
                raise UsageError(
                    f"A finished run cannot be trained again for the defense {each!r}.",
                    f"Choose from {', '.join(BEFORE)}; the others are measured without --run.",
                )
        plan = narrowed(FULL if self.full else QUICK, (seed,), self.attacks, wanted or ("jpeg",), ())
        return dataclasses.replace(plan, changes=())

    def made(self, source: str, out: Path, facts: RunFacts) -> dict[str, str]:
        """How the figures come to be, for reports."""
        words = ["main.py", "lab", "robustness", "--run", str(self.run), "--data", source, "--out", str(out)]
        words += [*(["--full"] if self.full else []), *(["--defenses", self.defenses] if self.defenses else [])]
        words += [word for attack in self.attacks for word in ("--attack", attack)]
        digest = facts.model.weights_sha256.hex()
        return {"lab": "robustness", "command": shlex.join(words), "data": source, "model_digest": digest}


def attack_run(out: Path, asked: Asked, form: str) -> None:
    """Attack a run's model on its test images, then print and draw; what an interrupted call has done stays.

    Args:
        out: The lab's folder; the run's images lie there in the clear.
        asked: Which run, and how.
        form: How to print, see `publish`.

    Raises:
        UsageError: something asked for is wrong, the run seals images or has several findings, or the folder has
            another lab.
        EvidenceError: the run is not finished, or a file of it is missing, damaged, or not what the summary says.
        DataError: the images are missing, or are not the run's.
        VerificationError: the run's model is malformed; or a defense's white-box figures are too good to be true, and
            all is printed before.
    """
    run, folder = SimulationFolder(asked.run), LabFolder(resolved(out))
    if folder.path.is_relative_to(resolved(asked.run)):
        raise UsageError(f"{out} lies in the run, which is evidence.", "Give --out another folder.")
    facts, settings = facts_of(asked.run), from_tables(run.server.load_record().settings)
    if settings.image_encryption.at_rest:
        raise UsageError(
            "This run's hospitals seal their images, and the lab keeps its own open.", "Attack another run."
        )
    plan, source = asked.plan(settings.training.seed), asked.data or settings.data.source
    if form != JSON:
        console.note(THREAT)
    fixed = {key: value for key, value in dataclasses.asdict(plan).items() if key != "defenses"}
    of = {"run": facts.run_id, "model": facts.model.weights_sha256.hex(), "data": source, **fixed}
    if has_hospitals(folder.data(settings.training.seed)):
        settle(folder.path, of)
    else:
        _take_in(folder, of, run, facts, settings)
    attack_and_publish(folder, plan, asked.made(source, out, facts), form)


def _take_in(folder: LabFolder, of: dict[str, Any], run: SimulationFolder, facts: RunFacts, settings: Settings) -> None:
    """Put a run's model and images where the lab has those that it trains and shares out itself."""
    seed, stored = settings.training.seed, read_model(run.model)
    if weights_digest(stored.weights) != facts.model.weights_sha256:
        raise EvidenceError(f"{run.model} is not the model that the run's summary names.", "Audit the run.")
    if len(stored.card.findings) > 1:
        raise UsageError("The lab takes one finding, and this run's model has several.", "Attack another run.")
    images = images_of(run, settings, of["data"])
    settle(folder.path, of)
    keep_arrays(
        folder.classifier(seed, NONE),
        weights=stored.weights,
        threshold=np.array(stored.card.thresholds[0]),
        fixed=stored.fixed,
    )
    save_hospitals(folder.data(seed), settings, list(images.values()))
