"""A whole federation in one process: real node, contract, keys, training, encryption; only Flower's wire is replaced.

`LocalGrid` is the product's grid in one process, in which a test can change a message on its way, repeat one, or leave
a hospital out, and see what server and contract make of it.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from anvil import Anvil
from flwr.app import Context, Error, Message, MessageType
from numpy.typing import NDArray

import attacker
import client
import server
from blockchain.closed_sums import ClosedSum
from blockchain.consortium.held_keys import HeldKeys
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.node.embedded import RunningNode, start_node
from commands.simulate.founding import Parties
from commands.simulate.preparation import found_study, point_to_node, settle_hospitals
from data_preprocessing import PreparedData, preprocess
from encryption import RoundKey, encrypt
from fedward import settings as setting
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.plan import PackingPlan
from fedward.ciphertexts.serialized import RING_DEGREE, add_ciphertexts
from fedward.folders.simulation import SimulationFolder
from fedward.in_process import Handler, InProcessGrid
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.messages.key_sharing import ANSWERS, RELEASE
from fedward.settings import Settings
from fedward.sharing.terms import Purpose
from fedward.tables import Scalar
from fedward.types import HospitalId, NodeId, PrivateUpdate, Vector

Tamper = Callable[[int, Message], Message | None]  # (node, reply) -> what the server gets; None: nothing arrives

SMALL: tuple[tuple[str, Scalar], ...] = (
    ("data.synthetic-images", 120),
    ("data.image-size", 16),
    ("data.hospitals", 3),
    ("training.local-epochs", 1),
    ("ledger.min-included", 2),
    ("ledger.release-threshold", 2),  # so that a round goes on without one of three
    ("speed.poll-interval-s", 0.01),
    # A model after one tiny epoch is no better than chance: its validation loss is not what these tests are about.
    ("detectors.validation-loss.tolerance", 100.0),
    # Nor are those of the other detectors; tests/integration/test_backdoors.py has them all.
    ("detectors.names", "validation-loss"),
    ("attribution.suspension", 0),
)
# Training under privacy that takes a moment.
PRIVATE_SCATTER: tuple[tuple[str, Scalar], ...] = (
    ("model.name", "scatter"),
    ("privacy.mode", "sample"),
    ("privacy.sampling-rate", 0.5),
    ("privacy.steps", 2),
    ("privacy.noise-multiplier", 2.0),
)


def untouched(_node: int, reply: Message) -> Message:
    """Change nothing."""
    return reply


def _handlers(take_part: Handler, judge: Handler) -> dict[str, Handler]:
    return {
        MessageType.TRAIN: take_part,
        ANSWERS: client.answer,
        RELEASE: client.release,
        MessageType.EVALUATE: judge,
    }


class Clock:
    """Time for the node, which a test can move forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead

    def move_to(self, moment: float) -> None:
        self._ahead = max(self._ahead, moment - time.time())


class LocalGrid(InProcessGrid):
    """A grid in which a test can change a reply on its way, and leave hospitals out; node k is hospital k, from 1."""

    def __init__(self, settings: Settings, folder: SimulationFolder) -> None:
        super().__init__(_handlers(client.take_part, client.judge), settings, {})
        self.tamper: Tamper = untouched
        self.absent: frozenset[int] = frozenset()
        self._folder = folder
        self.connect(*range(1, settings.data.hospitals + 1))

    def attack(self) -> None:
        """From now on, hospitals that have orders to attack follow them."""
        self._handlers = _handlers(attacker.take_part, attacker.judge)

    def connect(self, *nodes: int) -> None:
        """Further hospitals' nodes come."""
        for node in nodes:
            self.folders[NodeId(node)] = self._folder.hospital(HospitalId(f"hospital-{node}")).path

    def deliver(self, node: NodeId, request: Message) -> Message | None:
        if node in self.absent:
            return Message(Error(3, "the node is gone"), reply_to=request)
        reply = super().deliver(node, request)
        return reply and self.tamper(node, reply)


@dataclass
class Federation:
    """A founded consortium whose rounds a test leads one by one."""

    folder: SimulationFolder
    settings: Settings
    node: RunningNode | Anvil
    ledger: Ledger
    parties: Parties
    data: PreparedData
    initial: Vector
    grid: LocalGrid
    clock: Clock

    def server(self) -> server.Server:
        """The server, as it is after every start."""
        return server.Server.open(self.grid, self.folder.server, self.settings)  # type: ignore[arg-type]

    def context(self, node: int) -> Context:
        """What Flower would tell a hospital's node."""
        return self.grid.context(NodeId(node))

    def opened(self, round_index: int, node: int = 1) -> NDArray[np.int64]:
        """The whole numbers in a round's sum, as a hospital opens it."""
        opening, record = self.ledger.opening_and_round(round_index)
        sent = self.folder.server.load_sum(round_index)
        closed = ClosedSum(opening, Purpose.UPDATES, record.included, sent.chunks, sent.releases)
        plan = round_plan(len(self.initial), len(opening.roster), self.settings)
        keys = HeldKeys(self.folder.hospital(HospitalId(f"hospital-{node}")))
        return keys.open(closed, plan).sums

    def lead_round(self) -> dict[str, Any]:
        """Lead one round and return its line of metrics."""
        server.lead_round(self.server())
        return self.folder.server.rounds()[-1]


@contextmanager
def founded(path: Path, *overrides: tuple[str, Scalar], anvil: Anvil | None = None) -> Iterator[Federation]:
    """A consortium of three small hospitals with generated images, ready for its first round.

    Its ledger is on a running anvil, or else on an embedded node of its own. Where a test does not ask for parties or a
    ledger of its own, `SharedRuns.federation` gives the same sooner (tests/shared_runs.py).
    """
    settings = setting.load(None, *SMALL, *overrides)
    folder = SimulationFolder.create(path)
    data = prepared(path, settings)
    parties = settle_hospitals(folder, settings, data)
    clock, funded = Clock(), parties.addresses()
    with (
        nullcontext(anvil.fund(funded))
        if anvil
        else start_node(folder.ledger, settings.ledger.chain_id, funded, clock=clock) as node,
        nobody_waits(anvil or clock),
    ):
        study = found_study(folder, settings, data, parties, node.url)
        settings = point_to_node(folder, list(parties.hospitals), settings, node.url)
        grid = LocalGrid(settings, folder)
        yield Federation(folder, settings, node, study.ledger, parties, data, study.initial, grid, clock)


@contextmanager
def going_on(path: Path, *overrides: tuple[str, Scalar]) -> Iterator[Federation]:
    """A federation that `founded` made with these overrides and whose node was stopped, with a node again."""
    settings = setting.load(None, *SMALL, *overrides)
    folder = SimulationFolder(path)
    data, record, clock = prepared(path, settings), folder.server.load_record(), Clock()
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(data.findings))
    hospitals = {m.hospital: Identity.load(folder.hospital(m.hospital).identity) for m in record.roster}
    witness = Identity.load(folder.witness.identity) if settings.ledger.witness_required else None
    parties = Parties(Identity.load(folder.server.identity), hospitals, witness)
    with start_node(folder.ledger, settings.ledger.chain_id, (), clock=clock) as node, nobody_waits(clock):
        ledger = Ledger.attach(node.url, record.contract, parties.server, outbox=folder.server.transactions)
        settings = point_to_node(folder, list(hospitals), settings, node.url)
        grid = LocalGrid(settings, folder)
        initial = initial_weights(spec, settings.training.seed, settings.model.weights)
        yield Federation(folder, settings, node, ledger, parties, data, initial.copy(), grid, clock)


def prepared(path: Path, settings: Settings) -> PreparedData:
    """The hospitals' images."""
    return preprocess(settings.data, settings.training.seed, b"k" * 32, cache_folder=path / "cache")


@cache
def initial_weights(spec: ModelSpec, seed: int, name: str) -> Vector:
    """The weights that all start from."""
    return Classifier(spec, seed, name).get_weights()


@contextmanager
def nobody_waits(clock: Clock | Anvil) -> Iterator[None]:
    """Nobody waits for a deadline in a test: the node's clock is moved instead.

    Nor for the clock: else each block beyond what it may run ahead would take a second.
    """
    with (
        mock.patch("blockchain.node.chain.MAX_AHEAD_S", 3600.0),
        mock.patch("server.wait_until", lambda deadline, _log, _what: clock.move_to(deadline + 2)),
    ):
        yield


def keyless_ciphertexts(update: PrivateUpdate, plan: PackingPlan) -> tuple[bytes, ...]:
    """What the server can add to a sum without any key: ciphertexts of numbers that it knows."""
    nothing = RoundKey(np.zeros(RING_DEGREE, np.uint64))
    return encrypt(update, 1, 1, plan, nothing, bytes(32), np.random.default_rng(0)).chunks


def with_added(chunks: Iterable[bytes], more: Iterable[bytes]) -> tuple[bytes, ...]:
    """A sum of updates, with something added to each ciphertext."""
    return tuple(add_ciphertexts(a, b) for a, b in zip(chunks, more, strict=True))
