"""Runs one unit of the lab: clean rounds from the first on, or rounds under attack from where clean ones stood."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedward.backdoor.detectors import DETECTORS, configured_detectors
from fedward.files import make_folder
from fedward.labs.backdoor.inquiry import NewInquiry
from fedward.labs.backdoor.plan import Plan, Unit
from fedward.labs.backdoor.standing_files import load_standing, save_standing
from fedward.labs.backdoor.trial import NULL, Trial
from fedward.labs.federation import PlainFederation
from fedward.labs.hospitals_data import load_hospitals, load_settings
from fedward.labs.lab_folder import keep
from fedward.labs.units import Results
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec


@dataclass(frozen=True)
class LabFolder:
    """The lab's folder: partitions and settings of each condition and seed, standings, results of units.

    Attributes:
        path: Where it is.
    """

    path: Path

    def data(self, condition: str, seed: int) -> Path:
        """Where the partitions and settings of a condition and seed lie."""
        return self.path / "data" / f"{condition}-{seed}"

    def standing(self, condition: str, seed: int) -> Path:
        """Where the standing lies from which attacks start."""
        return self.path / "standings" / f"{condition}-{seed}.npz"

    def triggers(self, unit: Unit) -> Path:
        """Where the planted trigger lies, with those that a search finds."""
        return self.path / "triggers" / f"{unit.name}.npz"

    @property
    def results(self) -> Results:
        """What units found: a list of rounds each."""
        return Results(self.path / "units")


def run_unit(folder: LabFolder, plan: Plan, new_inquiry: NewInquiry, unit: Unit) -> list[dict[str, Any]]:
    """Run one unit; what it starts from is there.

    Args:
        folder: The lab's.
        plan: How many rounds there are.
        new_inquiry: Says who is left out of rounds, once one was rejected.
        unit: What to run.

    Returns:
        Its rounds, as `RoundResult.as_dict` gives them.
    """
    trial = _trial(folder, unit.condition, unit.seed, plan.watching, new_inquiry)
    path = folder.standing(unit.condition, unit.seed)
    if unit.attack is None:
        results, standings = trial.run(trial.start(), NULL, plan.clean_rounds, unit.defended)
        make_folder(path.parent)
        save_standing(path, standings[plan.warm_up - 1])
    else:
        rounds = plan.defended_rounds if unit.defended else plan.attack_rounds
        start = load_standing(path)
        results, standings = trial.run(start, unit.attack, rounds, unit.defended)
        if not unit.defended and (triggers := trial.triggers(unit.attack, start, standings[-1])):
            keep(folder.triggers(unit), triggers)
    return [result.as_dict() for result in results]


@functools.lru_cache(maxsize=1)
def _trial(folder: LabFolder, condition: str, seed: int, watching: tuple[str, ...], new_inquiry: NewInquiry) -> Trial:
    """The federation of a condition and seed, kept for the process's next unit."""
    place = folder.data(condition, seed)
    settings, partitions = load_settings(place), load_hospitals(place)
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(partitions[0].findings))
    classifier = Classifier(spec, settings.training.seed, settings.model.weights)
    federation = PlainFederation(partitions, classifier, settings)
    chosen = settings.detectors.chosen()
    beside = [DETECTORS[name](settings.detectors.options[name]) for name in watching if name not in chosen]
    return Trial(federation, classifier, configured_detectors(settings.detectors), beside, new_inquiry)
