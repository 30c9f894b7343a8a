"""The server's peak memory in a round of seven million parameters, by number of hospitals.

For each number of hospitals a fresh process runs the server's own round (`server.lead_round`): real messages with
real ciphertexts, signed commitments, shares, answers and releases, a real contract on a node in another process, files
on disk, votes. Hospitals are not trained: each sends other valid ciphertexts, made from one encrypted vector when the
server asks for its reply. The sum opens to nothing, which no hospital tries here.

`traffic_mb` is what hospitals sent the server and it them in the round: ciphertexts, shares, releases and the sum.
Not in the figures: what Flower's own transport holds while it sends and receives.
Run (on Linux): .venv/bin/python benchmarks/memory.py [--json] [--plot FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from flwr.app import Message, MessageType, RecordDict
from flwr.app.metadata import Metadata
from flwr.supercore.task_identity import TaskIdentity

from blockchain.identity import Identity
from blockchain.key_sharing import answer_dealings, deal_keys, release_sum
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundOpening
from blockchain.node.embedded import start_node
from blockchain.signing.signatures import Verdict, commit, sign_vote
from commands.simulate.founding import create_parties
from encryption import RoundKey, encrypt
from fedward import settings as setting
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.serialized import add_ciphertexts
from fedward.figures.histograms import empty_histogram
from fedward.folders.hospital import HeldKey, HospitalFolder
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.messages import ballots, wire
from fedward.messages.key_sharing import (
    ANSWERS,
    RELEASE,
    answers_to_records,
    read_dealt,
    read_request,
    release_to_records,
)
from fedward.messages.nodes import Nodes
from fedward.messages.submissions import Submission, submission_to_records
from fedward.privacy.mechanism import expected_event, privatize
from fedward.settings import Settings, from_tables, to_tables
from fedward.sharing.sealed_releases import ChannelKey
from fedward.sharing.sizes import sealed_share_bytes, share_width
from fedward.types import EncryptedUpdate, HospitalId, Member, ModelUpdate
from server import Server, lead_round

PARAMETERS = 7_000_000
HOSPITALS = (5, 10, 25)
WEIGHT = 100


@dataclass(frozen=True)
class Row:
    """One round: hospitals, bytes of an update, the server process's peak, and what it received and sent."""

    hospitals: int
    update_mb: float
    start_mb: float
    peak_mb: float
    traffic_mb: float


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path, help="write the curve to this image file")
    parser.add_argument("--hospitals", type=int, nargs="+", default=list(HOSPITALS))
    parser.add_argument("--parameters", type=int, default=PARAMETERS)
    parser.add_argument("--lead", type=Path, help=argparse.SUPPRESS)  # how this program calls itself as the server
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.lead:
        print(json.dumps(asdict(lead(SimulationFolder(arguments.lead), arguments.url))))
        return
    rows = [measure(hospitals, arguments.parameters) for hospitals in arguments.hospitals]
    growth = rows[-1].peak_mb / rows[0].peak_mb - 1
    if arguments.plot:
        plot(rows, arguments.parameters, arguments.plot)
    if arguments.json:
        result = {"parameters": arguments.parameters, "rows": [asdict(row) for row in rows], "growth": growth}
        print(json.dumps(result, indent=2))
        return
    print("| hospitals | an update, MB | server before the round, MB | server's peak, MB | traffic, MB |")
    print("|---|---|---|---|---|")
    for row in rows:
        figures = (row.update_mb, row.start_mb, row.peak_mb, row.traffic_mb)
        print(f"| {row.hospitals} | {' | '.join(f'{figure:.0f}' for figure in figures)} |")
    print(f"\n{growth:+.1%} from {rows[0].hospitals} to {rows[-1].hospitals} hospitals.")


def measure(hospitals: int, parameters: int) -> Row:
    """Found a consortium, and have a process of its own lead a round."""
    settings = setting.load(None, ("data.hospitals", hospitals), ("speed.poll-interval-s", 0.01))
    with tempfile.TemporaryDirectory() as folder:
        run = SimulationFolder.create(Path(folder) / "run")
        names = [HospitalId(f"hospital-{number}") for number in range(1, hospitals + 1)]
        parties = create_parties(run, names)
        channel = ChannelKey.generate()
        _save_vector(run, random_update(settings, parameters))
        with start_node(run.ledger, settings.ledger.chain_id, parties.addresses()) as node:
            ledger = Ledger.deploy(node.url, parties.server, settings.ledger, settings.digest(), bytes([1]) * 32)
            for place, identity in enumerate(parties.hospitals.values()):
                ledger.register(identity.address, WEIGHT, identity.x25519_public_key, dealer=place == 0)
            dealer = parties.hospitals[names[0]]
            Ledger.attach(node.url, ledger.contract, dealer).set_context(channel.fingerprint)
            members = tuple(Member(name, parties.hospitals[name].address, WEIGHT) for name in names)
            run.server.save_record(_record(settings, ledger, members, parameters))
            keys = {identity.address: identity.x25519_public_key for identity in parties.hospitals.values()}
            for name in names:
                run.hospital(name).save_channel_key(HeldKey(1, channel.fingerprint), channel.to_bytes())
                run.hospital(name).save_sealing_keys(keys)
            command = [sys.executable, str(Path(__file__).resolve()), "--lead", str(run.path), "--url", node.url]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"The server failed:\n{done.stderr}")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def random_update(settings: Settings, parameters: int) -> EncryptedUpdate:
    """An encrypted vector of small random numbers."""
    rng = np.random.default_rng(1)
    delta = rng.standard_normal(parameters, np.float32) * np.float32(0.01)
    hospitals = settings.data.hospitals
    plan = round_plan(parameters, hospitals, settings)
    private = privatize(ModelUpdate(delta, WEIGHT, 0.0), settings.privacy)
    return encrypt(private, WEIGHT, WEIGHT * hospitals, plan, RoundKey.generate(), b"benchmark", rng)


def lead(run: SimulationFolder, url: str) -> Row:
    """Lead one round as the server."""
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
    record = run.server.load_record()
    settings = from_tables(record.settings)
    ledger = Ledger.attach(url, record.contract, Identity.load(run.server.identity))
    grid: Any = DiskGrid(run, settings, ledger)
    start_mb = _peak_mb()
    lead_round(Server(grid, run.server, settings, ledger, Nodes(grid), len(record.findings), record.parameters))
    finished = run.server.rounds()[-1]
    if finished["phase"] != "accepted" or finished["accepts"] != len(record.roster):
        raise SystemExit(f"The round of the benchmark was not accepted: {finished}")
    update_mb = sum(path.stat().st_size for path in _vector(run)) / 1e6
    return Row(len(record.roster), update_mb, start_mb, _peak_mb(), grid.traffic / 1e6)


class DiskGrid:
    """Takes the place of Flower's grid; makes a hospital's reply when it is asked for, and does not keep it."""

    def __init__(self, run: SimulationFolder, settings: Settings, ledger: Ledger) -> None:
        self._run, self._ledger, self._settings = run, ledger, settings
        # Without ciphertexts: it says under which privacy event an update is.
        self._form = EncryptedUpdate((), WEIGHT, expected_event(settings.privacy), 0)
        self.traffic = 0  # bytes that went either way
        self._findings = len(run.server.load_record().findings)
        self._requests: dict[str, tuple[str, int, Message]] = {}

    def get_node_ids(self) -> Iterable[int]:
        """The connected nodes: all hospitals."""
        return range(1, len(self._run.server.load_record().roster) + 1)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Note which node was asked what; the aggregate that is sent along is not kept."""
        names = []
        for message in messages:
            sent, name = message.metadata, f"message-{len(self._requests)}"
            identity = Metadata(
                1, name, 0, sent.dst_node_id, "", sent.group_id, sent.created_at, sent.ttl, sent.message_type
            )
            self.traffic += _size(message.content)
            # The sum is not kept; shares and what sum is meant are.
            large = sent.message_type == MessageType.EVALUATE
            content = wire.round_records(int(sent.group_id), {}) if large else message.content
            self._requests[name] = (sent.message_type, sent.dst_node_id, Message(content=content, metadata=identity))
            names.append(name)
        return names

    def pull_messages(self, names: Iterable[str]) -> Iterator[Message]:
        """The replies, one at a time."""
        for name in names:
            kind, node, request = self._requests.pop(name)
            folder = self._run.hospital(HospitalId(f"hospital-{node}"))
            content = self._reply(kind, node, folder, request)
            self.traffic += _size(content)
            yield Message(content, reply_to=request)

    def _reply(self, kind: str, node: int, folder: HospitalFolder, request: Message) -> RecordDict:
        """What a hospital answers to a message of this kind."""
        identity = Identity.load(folder.identity)
        opening, record = self._ledger.opening_and_round(self._ledger.latest_round())
        if kind == MessageType.TRAIN:
            return self._submission(node, folder, identity, opening)
        if kind == ANSWERS:
            width = share_width(1)
            dealt = read_dealt(request, sealed_share_bytes(width))
            return answers_to_records(answer_dealings(folder, self._ledger, opening, identity, dealt, width))
        if kind == RELEASE:
            asked = read_request(request)
            return release_to_records(
                release_sum(folder, self._ledger, opening, record, identity, asked, self._settings)
            )
        counts = empty_histogram(self._findings)
        verdict = Verdict(True, bytes([2]) * 32, ballots.counts_hash(counts, ()), bytes([3]) * 32)
        vote = sign_vote(verdict, record, self._ledger, identity)
        return ballots.ballot_to_records(ballots.Ballot(vote, counts, {}))

    def _submission(self, node: int, folder: HospitalFolder, identity: Identity, opening: RoundOpening) -> RecordDict:
        """Chunk i is the vector's chunk i plus its chunk i + node: other valid ciphertexts for each hospital."""
        files = _vector(self._run)
        chunks = tuple(
            add_ciphertexts(file.read_bytes(), files[(index + node) % len(files)].read_bytes())
            for index, file in enumerate(files)
        )
        dealing = deal_keys(folder, self._ledger, opening, identity, encrypted_counts=False)
        folder.sharing.keep_dealing(opening.round_index, dealing.shares)
        signed = commit(replace(self._form, chunks=chunks), dealing.root(), opening, self._ledger, identity)
        return submission_to_records(Submission(signed, chunks, dealing.sealed, None, {}))


def _size(content: RecordDict) -> int:
    """Bytes of the large parts of a message."""
    arrays = sum(len(array.data) for record in content.array_records.values() for array in record.values())
    lists = (value for record in content.config_records.values() for value in record.values())
    return arrays + sum(sum(map(len, value)) for value in lists if isinstance(value, list) and _are_bytes(value))


def _are_bytes(values: list[Any]) -> bool:
    return all(isinstance(value, bytes) for value in values)


def plot(rows: list[Row], parameters: int, path: Path) -> None:
    """The server's peak over the number of hospitals, beside what holding all updates would take."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    hospitals = [row.hospitals for row in rows]
    axes.plot(hospitals, [row.peak_mb for row in rows], marker="o", label="measured")
    everything = [row.start_mb + row.hospitals * row.update_mb for row in rows]
    axes.plot(hospitals, everything, linestyle="--", label="all updates in memory")
    axes.set(xlabel="hospitals", ylabel="server's peak memory, MB", title=f"{parameters:,} parameters")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def _save_vector(run: SimulationFolder, update: EncryptedUpdate) -> None:
    folder = run.path / "vector"
    folder.mkdir()
    for index, chunk in enumerate(update.chunks):
        (folder / f"{index:06d}").write_bytes(chunk)


def _vector(run: SimulationFolder) -> list[Path]:
    return sorted((run.path / "vector").iterdir())


def _record(settings: Settings, ledger: Ledger, roster: tuple[Member, ...], parameters: int) -> RunRecord:
    return RunRecord(
        run_id="benchmark",
        created="",
        versions={},
        settings=to_tables(settings),
        settings_digest=settings.digest().hex(),
        initial_model_digest=(bytes([1]) * 32).hex(),
        findings=("PNEUMONIA",),
        class_names=("NORMAL", "PNEUMONIA"),
        parameters=parameters,
        contract=ledger.contract,
        roster=roster,
        witnesses=(),
        genesis_hash=ledger.block_hash(0).hex(),
    )


def _peak_mb() -> float:
    """This program's own peak; getrusage would count what its parent held when it started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
