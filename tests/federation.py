"""A whole federation in one process: real node, contract, keys, training, encryption; only Flower's wire is replaced.

`LocalGrid` stands where Flower's grid does and calls the hospitals' handlers directly, so that a test can change a
message on its way, repeat one, or leave a hospital out, and see what server and contract make of it.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from anvil import Anvil
from flwr.app import Context, Error, Message, MessageType, RecordDict
from flwr.app.metadata import Metadata
from flwr.supercore.task_identity import TaskIdentity

import client
import server
from blockchain.ledger.ledger import Ledger
from blockchain.node.embedded import RunningNode, start_node
from commands.simulate.founding import Parties, create_parties, found_consortium
from data_preprocessing import PreparedData, preprocess, save_partition
from encryption import PublicContext, SecretContext
from fedward import settings as setting
from fedward.folders.hospital import weights_digest
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.learning.model import Classifier, ModelSpec
from fedward.settings import Settings, to_tables
from fedward.tables import Scalar
from fedward.types import Vector

Tamper = Callable[[int, Message], Message | None]  # (node, reply) -> what the server gets; None: nothing arrives

SMALL: tuple[tuple[str, Scalar], ...] = (
    ("data.synthetic-images", 120),
    ("data.image-size", 16),
    ("data.hospitals", 3),
    ("training.local-epochs", 1),
    ("ledger.min-included", 2),
    ("speed.poll-interval-s", 0.01),
    # A model after one tiny epoch is no better than chance: its validation loss is not what these tests are about.
    ("detectors.validation-loss.tolerance", 100.0),
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


class Clock:
    """Time for the node, which a test can move forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead

    def move_to(self, moment: float) -> None:
        self._ahead = max(self._ahead, moment - time.time())


class LocalGrid:
    """The part of Flower's grid that the server uses; node k is hospital k, from 1."""

    def __init__(
        self, settings: Settings, hospitals: Path, tamper: Tamper = untouched, absent: frozenset[int] = frozenset()
    ) -> None:
        # Flower's processes learn who they are when they start; messages cannot be made without.
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        self.settings = settings
        self.hospitals = hospitals
        self.size = settings.data.hospitals
        self.tamper = tamper
        self.absent = absent
        self._replies: dict[str, Message] = {}
        self.requests: list[Message] = []

    def get_node_ids(self) -> list[int]:
        return list(range(1, self.size + 1))

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names = []
        for message in messages:
            node = message.metadata.dst_node_id
            request = _numbered(message, len(self.requests))
            self.requests.append(request)
            names.append(request.metadata.message_id)
            if node in self.absent:
                gone = Message(Error(3, "the node is gone"), reply_to=request)
                self._replies[request.metadata.message_id] = gone
                continue
            handler = client.take_part if message.metadata.message_type == MessageType.TRAIN else client.judge
            reply = self.tamper(node, handler(request, hospital_context(self.settings, self.hospitals, node)))
            if reply is not None:
                self._replies[request.metadata.message_id] = reply
        return names

    def pull_messages(self, names: Iterable[str]) -> Iterator[Message]:
        for name in list(names):
            if name in self._replies:
                yield self._replies.pop(name)


def hospital_context(settings: Settings, hospitals: Path, node: int) -> Context:
    """What Flower would tell a node that was started with its hospital's folder."""
    flat = {f"{table}.{key}": value for table, values in to_tables(settings).items() for key, value in values.items()}
    return Context(1, node, {"hospital-folder": str(hospitals / f"hospital-{node}")}, RecordDict(), flat)


def _numbered(message: Message, number: int) -> Message:
    """Give a message the identity that Flower gives it when it is sent."""
    sent = message.metadata
    identity = Metadata(
        run_id=1,
        message_id=f"message-{number}",
        src_node_id=0,
        dst_node_id=sent.dst_node_id,
        reply_to_message_id="",
        group_id=sent.group_id,
        created_at=sent.created_at,
        ttl=sent.ttl,
        message_type=sent.message_type,
    )
    return Message(content=message.content, metadata=identity)


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
        return hospital_context(self.settings, self.folder.hospitals, node)

    def public_context(self) -> PublicContext:
        """What hospitals encrypt under now; a server has it only where a hospital gives it away."""
        hospital = self.folder.hospital(self.data.partitions[0].hospital)
        return SecretContext.from_bytes(hospital.load_secret_key()).public

    def lead_round(self) -> dict[str, object]:
        """Lead one round and return its line of metrics."""
        server.lead_round(self.server())
        return self.folder.server.rounds()[-1]


@contextmanager
def founded(path: Path, *overrides: tuple[str, Scalar], anvil: Anvil | None = None) -> Iterator[Federation]:
    """A consortium of three small hospitals with generated images, ready for its first round.

    Its ledger is on a running anvil, or else on an embedded node of its own.
    """
    settings = setting.load(None, *SMALL, *overrides)
    folder = SimulationFolder.create(path)
    data = preprocess(settings.data, settings.training.seed, b"k" * 32, cache_folder=path / "cache")
    hospitals = [partition.hospital for partition in data.partitions]
    parties = create_parties(folder, hospitals, settings.ledger.witness_required)
    for partition in data.partitions:
        save_partition(folder.hospital(partition.hospital).partition, partition)
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(data.findings))
    initial = Classifier(spec, settings.training.seed).get_weights()
    clock, funded = Clock(), parties.addresses()
    with (
        nullcontext(anvil.fund(funded))
        if anvil
        else start_node(folder.ledger, settings.ledger.chain_id, funded, clock=clock) as node,
        # Nobody waits for a deadline in a test: the node's clock is moved instead.
        mock.patch("server.wait_until", lambda deadline, _log, _what: (anvil or clock).move_to(deadline + 2)),
    ):
        settings = setting.replace(settings, "run.folder", str(folder.server.path))
        settings = setting.replace(settings, "run.rpc-url", node.url)
        ledger, roster = found_consortium(
            folder, parties, data.partitions, settings, node.url, initial, parties.witnesses()
        )
        for hospital in hospitals:
            folder.hospital(hospital).save_ledger_url(node.url)
        folder.server.save_record(
            RunRecord(
                run_id="test",
                created="",
                versions={},
                settings=to_tables(settings),
                settings_digest=settings.digest().hex(),
                initial_model_digest=weights_digest(initial).hex(),
                findings=data.findings,
                class_names=data.class_names,
                parameters=len(initial),
                contract=ledger.contract,
                roster=roster,
                witnesses=parties.witnesses(),
                genesis_hash=ledger.genesis_hash().hex(),
            )
        )
        yield Federation(
            folder, settings, node, ledger, parties, data, initial, LocalGrid(settings, folder.hospitals), clock
        )
