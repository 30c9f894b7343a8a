"""A finished run as its evidence, to be changed and handed over again, as a run folder or as a bundle, and audited.

Whoever tampers mends all that he can: every digest and name in a manifest, every row of a store.
"""

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import rlp
from eth.db.schema import SchemaV1
from eth_typing import BlockNumber
from eth_utils.crypto import keccak
from federation import Federation, founded
from flwr.app import Message
from forged_chains import HEADER, TRANSACTION_ROOT, TRANSACTIONS, Body, Mined, block_hash, input_of, mined, nonce_of
from trie.hexary import HexaryTrie
from typer.testing import CliRunner

from blockchain.audit.report import Status, Step
from blockchain.audit.sources.archive import writing
from blockchain.audit.sources.bundle import write_bundle
from blockchain.audit.sources.claims import checkpoints_to_lines
from blockchain.audit.sources.evidence import Genesis
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.remembering import gather_trust, remember
from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from blockchain.ledger.calls import decode_call
from blockchain.ledger.flights import Call
from blockchain.ledger.relay import Outcome, Relay
from blockchain.node.store import ChainStore
from blockchain.node.stored_chain import CHAIN_ID_KEY, GENESIS_KEY, encode_balances
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint
from fedward.privacy.accounting import epsilon
from fedward.types import Address, HospitalId, PrivacyEvent
from main import app

IMAGES_PER_CLASS = 60
DATA = Path(os.environ.get("FEDWARD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
FORMS = ("folder", "bundle")
NOT_EVIDENCE = shutil.ignore_patterns("*.npz", "*.ckks", "*.key", "outbox", "transactions", "cache")


@dataclass(frozen=True)
class FinishedRun:
    """A run with nothing left running.

    Attributes:
        folder: The run folder, without its own trust file.
        bundle: What was exported of it, ciphertexts inside.
        trust: What its hospitals vouch for.
        server: Who deployed the ledger and sent nearly every transaction.
        hospitals: By name; the first is the dealer.
    """

    folder: Path
    bundle: Path
    trust: TrustFile
    server: Identity
    hospitals: Mapping[HospitalId, Identity]
    genesis: Genesis

    @property
    def chain_id(self) -> int:
        return self.trust.chain_id

    @property
    def contract(self) -> Address:
        return self.trust.contract

    def identity(self, address: Address) -> Identity:
        """Who signs for an account."""
        return next(one for one in (self.server, *self.hospitals.values()) if one.address == address)


def x_rays(path: Path) -> tuple[tuple[str, str], ...]:
    """Settings that take a few real X-rays; none where there are none here, and generated images are taken."""
    source = DATA / "chest_xray" / "train"
    if not source.is_dir():
        return ()
    for folder in sorted(source.iterdir()):
        (path / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[:IMAGES_PER_CLASS]:
            shutil.copyfile(file, path / folder.name / file.name)
    return (("data.source", str(path)),)


def finish(path: Path, lead: Callable[[Federation], None]) -> FinishedRun:
    """Found a consortium on real X-rays, lead its rounds, let every hospital sign what it saw, and stop the node.

    Each transaction has a block of its own, so that forgers can move and change them one by one.
    """
    add = Relay.add

    def alone(relay: Relay, call: Call, outcome: Outcome) -> None:
        add(relay, call, outcome)
        relay.finish()

    with (
        mock.patch.object(Relay, "add", alone),
        founded(path / "run", ("privacy.mode", "update"), *x_rays(path / "x-rays")) as federation,
    ):
        lead(federation)
        folder, parties = federation.folder, federation.parties
        roster = folder.server.load_record().roster
        members = [folder.hospital(member.hospital) for member in roster]
        for member in members:
            remember(member, federation.ledger, Identity.load(member.identity))
        trust = gather_trust(list(zip(roster, members, strict=True)))
    evidence = RunEvidence(folder.path)
    write_bundle(evidence, path / "bundle", with_ciphertexts=True)
    return FinishedRun(folder.path, path / "bundle", trust, parties.server, parties.hospitals, evidence.genesis())


def two_honest_rounds(federation: Federation) -> None:
    """Two rounds in which some seconds pass between what hospitals do, so that a date can be moved."""

    def slowly(_node: int, reply: Message) -> Message:
        federation.clock.move_to(federation.clock() + 5)
        return reply

    federation.grid.tamper = slowly
    assert [federation.lead_round()["phase"] for _ in range(2)] == ["accepted", "accepted"]


@functools.cache
def honest_run(folder: Path) -> FinishedRun:
    """Two honest rounds, led once for all tests of a session, which work on copies; `folder` is the session's."""
    return finish(folder / "honest", two_honest_rounds)


# ---- evidence in memory ---------------------------------------------------------------------------------------------


@dataclass
class Tampered:
    """All that a run hands over, to be changed.

    Attributes:
        run: Whose evidence it was.
        trust: What the auditor is given beside it; None: nothing.
        bodies: The blocks from 1 on.
        checkpoints: That come with the evidence.
        rounds: Names of each round's ciphertexts, as `round-NNNN.json` and a manifest hold them.
        chunks: Ciphertexts by the name that they are stored under.
        claimed_noise: The noise multiplier whose epsilon the run states; None: the true one.
        settings_noise: The noise multiplier in the settings that it hands over; None: the true one.
    """

    run: FinishedRun
    trust: TrustFile | None
    bodies: list[Body]
    checkpoints: tuple[SignedCheckpoint, ...]
    rounds: dict[int, dict[str, Any]]
    chunks: dict[str, bytes]
    claimed_noise: float | None = None
    settings_noise: float | None = None

    @classmethod
    def of(cls, run: FinishedRun) -> "Tampered":
        """As it is."""
        evidence = RunEvidence(run.folder)
        lists = {
            index: run.folder / "server" / "ciphertexts" / f"round-{index:04d}.json" for index in evidence.rounds()
        }
        files = (path for path in (run.folder / "server" / "ciphertexts").iterdir() if not path.suffix)
        return cls(
            run=run,
            trust=run.trust,
            bodies=[rlp.decode(raw.block) for raw in evidence.blocks()],
            checkpoints=evidence.checkpoints(),
            rounds={index: json.loads(path.read_bytes()) for index, path in lists.items()},
            chunks={path.name: path.read_bytes() for path in files},
        )

    # ---- what a forger asks himself

    def number(self, function: str, nth: int = 0) -> int:
        """The block of the nth transaction that calls a function; counted from the end where negative."""
        calls = [
            number
            for number, body in enumerate(self.bodies[1:], start=2)
            for transaction in body[TRANSACTIONS]
            if decode_call(input_of(transaction))[0] == function
        ]
        return calls[nth]

    def transaction(self, number: int) -> bytes:
        """The only transaction of a block."""
        (transaction,) = self.bodies[number - 1][TRANSACTIONS]
        assert isinstance(transaction, bytes)
        return transaction

    def next_nonce(self) -> int:
        """Of the server's next transaction: it sent all but the dealer's."""
        return max(nonce_of(body[TRANSACTIONS][-1]) for body in self.bodies) + 1

    def keep(self, chunks: Sequence[bytes]) -> list[str]:
        """Store ciphertexts under their hashes."""
        names = [hashlib.sha256(chunk).hexdigest() for chunk in chunks]
        self.chunks |= dict(zip(names, chunks, strict=True))
        return names

    def mine(self, machine: Any = None) -> Mined:
        """Make all headers anew from what the transactions come to, by Ethereum's rules or another machine's."""
        made = mined(self.bodies, self.run, machine) if machine else mined(self.bodies, self.run)
        self.bodies = made.bodies
        return made

    def vouch(self, heads: Mapping[int, bytes]) -> None:
        """Let the hospitals, which run no node of their own, sign this chain where they signed the true one.

        What they sign is what the server's node tells them: blocks, and the ledger head (32 bytes) by height.
        """
        seen = {
            (one.checkpoint.hospital, one.checkpoint.height, one.checkpoint.round_index) for one in self.checkpoints
        }
        tip = len(self.bodies)
        latest = max(round_index for _, _, round_index in seen)
        points = {point for point in seen if point[1] < tip} | {(hospital, tip, latest) for hospital, _, _ in seen}
        self.checkpoints = tuple(
            sign_checkpoint(
                Checkpoint(
                    self.run.chain_id,
                    self.run.contract,
                    hospital,
                    round_index,
                    height,
                    block_hash(self.bodies[height - 1]),
                    heads[height],
                ),
                self.run.identity(hospital),
            )
            for hospital, height, round_index in sorted(points)
        )
        self.trust = dataclasses.replace(self.run.trust, checkpoints=self.checkpoints)

    # ---- handing over

    def save(self, form: str, path: Path) -> Path:
        """Write it as a run folder or as a bundle."""
        return self._save_folder(path) if form == "folder" else self._save_bundle(path)

    def _save_folder(self, path: Path) -> Path:
        shutil.copytree(self.run.folder, path, ignore=NOT_EVIDENCE)
        (path / "ledger" / "chain.sqlite").unlink()
        save_chain(path / "ledger" / "chain.sqlite", self.run, self.bodies)
        shutil.rmtree(path / "server" / "ciphertexts")
        (path / "server" / "ciphertexts").mkdir()
        for name, chunk in self.chunks.items():
            (path / "server" / "ciphertexts" / name).write_bytes(chunk)
        for index, files in self.rounds.items():
            (path / "server" / "ciphertexts" / f"round-{index:04d}.json").write_text(json.dumps(files))
        for hospital in self.run.hospitals:
            folder = path / "hospitals" / hospital
            own = [one for one in self.checkpoints if one.checkpoint.hospital == self.run.hospitals[hospital].address]
            (folder / "checkpoints.jsonl").write_bytes(checkpoints_to_lines(own))
            if self.claimed_noise is not None:
                lines = [json.loads(line) for line in (folder / "privacy.jsonl").read_text().splitlines()]
                for line in lines:
                    line["event"]["noise_multiplier"] = self.claimed_noise
                (folder / "privacy.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        if self.settings_noise is not None:
            record = json.loads((path / "server" / "run.json").read_text())
            record["settings"]["privacy"]["noise-multiplier"] = self.settings_noise
            (path / "server" / "run.json").write_text(json.dumps(record))
        return path

    def _save_bundle(self, path: Path) -> Path:
        with zipfile.ZipFile(self.run.bundle) as archive:
            members = {name: archive.read(name) for name in archive.namelist() if not name.startswith("ciphertexts/")}
        manifest = json.loads(members["manifest.json"])
        blocks = [rlp.encode(body) for body in self.bodies]
        members["blocks.rlp"] = b"".join(len(block).to_bytes(4, "big") + block for block in blocks)
        members["checkpoints.jsonl"] = checkpoints_to_lines(self.checkpoints)
        manifest["rounds"] = {str(index): files for index, files in self.rounds.items()}
        if self.claimed_noise is not None:
            events = [PrivacyEvent("update", "hospital", 1.0, self.claimed_noise, 1, 1.0, 1e-5)] * len(self.rounds)
            manifest["claims"]["epsilons"] = dict.fromkeys(self.run.hospitals, epsilon(events))
        if self.settings_noise is not None:
            manifest["claims"]["settings"]["privacy"]["noise-multiplier"] = self.settings_noise
        manifest["members"] = {name: hashlib.sha256(members[name]).hexdigest() for name in manifest["members"]}
        members["manifest.json"] = json.dumps(manifest).encode()
        listed = {
            name
            for files in self.rounds.values()
            for names in (files["aggregate"], *files["updates"].values())
            for name in names
        }
        members |= {f"ciphertexts/{name}": self.chunks[name] for name in listed if name in self.chunks}
        save_archive(path, members)
        return path


def save_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Members as a bundle holds them."""
    path.unlink(missing_ok=True)
    with writing(path) as archive:
        for name, content in sorted(members.items()):
            archive.add(name, [content])


def save_chain(path: Path, run: FinishedRun, bodies: Sequence[Body]) -> None:
    """A chain's store, made by hand: each block under the place that it takes, whatever its header says."""
    store = ChainStore(path)
    with store.transaction():
        store[CHAIN_ID_KEY] = str(run.chain_id).encode()
        store[GENESIS_KEY] = encode_balances(run.genesis.balances)
        headers = [run.genesis.header, *(rlp.encode(body[HEADER]) for body in bodies)]
        for number, header in enumerate(headers):
            store[keccak(header)] = header
            store[SchemaV1.make_block_number_to_hash_lookup_key(BlockNumber(number))] = rlp.encode(keccak(header))
        store[SchemaV1.make_canonical_head_hash_lookup_key()] = keccak(headers[-1])
        for body in bodies:
            trie = HexaryTrie({})
            for place, item in enumerate(body[TRANSACTIONS]):
                trie[rlp.encode(place)] = item
            for node_hash, node in trie.db.items():
                store[node_hash] = node
            # A body that its header does not name can only be reached if it lies where the header points.
            store[body[HEADER][TRANSACTION_ROOT]] = trie.db[trie.root_hash]
    store.close()


# ---- what the audit says --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """How `main.py audit` ended.

    Attributes:
        exit_code: As the process would end.
        steps: Each step's worst status.
        last: The last line: what it names first.
        output: All of it.
    """

    exit_code: int
    steps: Mapping[Step, Status]
    last: str
    output: str

    def failed(self) -> list[Step]:
        """The steps that say FAIL, in their order."""
        return [step for step in Step if self.steps.get(step) is Status.FAIL]


def audit(path: Path, trust: TrustFile | None) -> Verdict:
    """Run the command in this process."""
    arguments = ["audit", str(path)]
    if trust:
        trust.save(path.with_name("hospitals-trust.json"))
        arguments += ["--trust", str(path.with_name("hospitals-trust.json"))]
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    lines = result.stdout.splitlines()
    steps = {step: status for step in Step for status in Status for line in lines if _heads(line, step, status)}
    return Verdict(result.exit_code, steps, lines[-1], result.output)


def _heads(line: str, step: Step, status: Status) -> bool:
    """Whether a line tells how a step ended."""
    return line.split()[:3] == [str(step.number), step.label, status.value]
