"""Runs one unit of `lab leakage --run`: the attack on what one party holds of one round."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedward.labs.lab_folder import LabFolder, keep, kept_as, many_networks
from fedward.labs.leakage.parties import Effort, View
from fedward.labs.leakage.party_attack import attacked
from fedward.labs.leakage.party_pictures import Found
from fedward.learning.weight_shapes import ModelSpec
from fedward.seeding import public_rng


@dataclass(frozen=True)
class PartyUnit:
    """One party's view of one round.

    Attributes:
        round_index: From 1.
        number: The party's place in the table.
    """

    round_index: int
    number: int

    @property
    def name(self) -> str:
        """Names the unit's file."""
        return f"round-{self.round_index:04d}-{self.number}"


def run_unit(views: Path, folder: LabFolder, spec: ModelSpec, effort: Effort, unit: PartyUnit) -> dict[str, Any]:
    """Attack one view.

    Args:
        views: Where views lie.
        folder: The lab's, for pictures.
        spec: The model's shape.
        effort: How hard.
        unit: Which view.
    """
    many_networks()
    view = kept_as(View, views / f"{unit.name}.npz")
    told, found = attacked(view, spec, effort, public_rng("lab parties", unit.round_index, unit.number))
    victim = view.candidates[0, view.places[0]]
    keep(folder.picture(unit), Found(victim, view.prior, np.asarray(found[0, 0, 0], np.float32)))
    return told
