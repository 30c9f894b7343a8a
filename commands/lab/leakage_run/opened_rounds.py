"""Opens a finished run round by round as one of its hospitals does: the model it starts from and what its sum holds."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blockchain.closed_sums import ClosedSum
from blockchain.consortium.held_keys import HeldKeys
from blockchain.ledger.fold import next_base_id
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RosterEntry, RoundOpening, RoundPhase, RoundRecord
from blockchain.node.embedded import start_node
from fedward.ciphertexts.packing import dequantize, round_plan
from fedward.errors import EvidenceError
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.learning.server_step import server_optimizer, take_step
from fedward.settings import Settings
from fedward.sharing.terms import Purpose
from fedward.types import GlobalModel, HospitalId


@dataclass(frozen=True)
class OpenedRound:
    """An accepted round, with what its encrypted sum says.

    Attributes:
        round_index: From 1.
        model: The model that the round started from.
        included: The hospitals in the sum, in roster order.
        mean: float64, shape (parameters,); the mean of their updates, weighted by `weight`.
        weight: Sum of their weights.
    """

    round_index: int
    model: GlobalModel = field(repr=False)
    included: tuple[RosterEntry, ...]
    mean: NDArray[np.float64] = field(repr=False)
    weight: int


def opened_rounds(
    run: SimulationFolder, record: RunRecord, settings: Settings, first: GlobalModel, hospital: HospitalId
) -> Iterator[OpenedRound]:
    """The accepted rounds, oldest first.

    The chain is read from a copy, for a run's folder is evidence and a node writes.

    Args:
        run: The run's folder.
        record: What the server says of the study.
        settings: The study's.
        first: The initial model.
        hospital: Whose channel keys open the sums.

    Raises:
        EvidenceError: a file is missing or damaged, or a sum is not the one that the ledger recorded.
        FedwardError: a sum does not open.
    """
    model, keys = first, HeldKeys(run.hospital(hospital))
    with tempfile.TemporaryDirectory(prefix="fedward-") as copy:
        chain = Path(copy) / "ledger"
        try:
            shutil.copytree(run.ledger, chain)
        except (OSError, shutil.Error) as error:
            raise EvidenceError(
                f"The ledger in {run.ledger} cannot be read.", "Name a finished run's folder."
            ) from error
        with (
            start_node(chain, settings.ledger.chain_id, (), private=True, existing=True) as node,
            closing(Ledger.attach(node.url, record.contract, None)) as ledger,
        ):
            for index in range(1, ledger.latest_round() + 1):
                opening, told = ledger.opening_and_round(index)
                if told.phase is RoundPhase.ACCEPTED:
                    opened = _opened(run, settings, model, opening, told, keys)
                    yield opened
                    moved = take_step(model, opened.mean, server_optimizer(settings.server_optimizer))
                    model = GlobalModel(moved[0], next_base_id(model.base_id, told), moved[1])


def _opened(
    run: SimulationFolder,
    settings: Settings,
    model: GlobalModel,
    opening: RoundOpening,
    record: RoundRecord,
    keys: HeldKeys,
) -> OpenedRound:
    sent = run.server.load_sum(opening.round_index)
    closed = ClosedSum(opening, Purpose.UPDATES, record.included, sent.chunks, sent.releases)
    if closed.root() != record.aggregate_hash:
        raise EvidenceError(
            f"The aggregate of round {opening.round_index} is not the one on the ledger.", "Audit the run first."
        )
    plan = round_plan(len(model.weights), len(opening.roster), settings)
    sums = keys.open(closed, plan).sums
    mean = dequantize(sums, plan, record.included_weight, opening.enrolled_total)
    included = tuple(entry for entry in opening.roster if entry.index in record.included)
    return OpenedRound(opening.round_index, model, included, mean, record.included_weight)
