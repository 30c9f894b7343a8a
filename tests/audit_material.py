"""What the tests of the audit judge: hospitals with real ciphertexts, a round's story, and a store to damage."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from eth_utils.address import to_checksum_address
from web3 import Web3

from blockchain.audit.checks.rounds import CommittedUpdate, Moment, RoundStory
from blockchain.audit.history import ExecutedBlock, ExecutedTransaction, Log
from blockchain.audit.report import Line, Report, Status, Step
from blockchain.audit.sources.evidence import Claims, Genesis, RawBlock
from blockchain.ledger.records import RosterEntry, RoundPhase
from blockchain.signing.checkpoints import SignedCheckpoint
from encryption import RoundKey, encrypt
from fedward import settings as setting
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.serialized import add_ciphertexts
from fedward.errors import EvidenceError
from fedward.files import merkle_root, sha256
from fedward.folders.ciphertexts import RoundFiles
from fedward.types import Address, PrivacyEvent, PrivateUpdate

PARAMETERS = 10_000  # two ciphertexts
ROUND_SEED = bytes(range(32))
NO_PRIVACY = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
ADDRESSES = tuple(Address(to_checksum_address(bytes([number]) * 20)) for number in range(1, 5))
NAMES = {address: f"hospital-{number}" for number, address in enumerate(ADDRESSES, start=1)}


@dataclass
class Store:
    """A source of ciphertexts; of the other evidence it has none."""

    chunks: dict[str, bytes] = field(default_factory=dict)
    files: dict[int, RoundFiles] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    source: str = "a store"
    live: bool = False

    def keep(self, chunks: Sequence[bytes]) -> tuple[str, ...]:
        names = tuple(sha256(chunk).hex() for chunk in chunks)
        self.chunks |= dict(zip(names, chunks, strict=True))
        return names

    def round_files(self, round_index: int) -> RoundFiles:
        if round_index not in self.files:
            raise EvidenceError(f"The list of round {round_index} is missing.", "Restore it.")
        return self.files[round_index]

    def chunk(self, name: str) -> bytes:
        self.reads.append(name)
        if name not in self.chunks:
            raise EvidenceError(f"The ciphertext {name} is missing.", "Restore it.")
        return self.chunks[name]

    def claims(self) -> Claims:
        raise EvidenceError("No claims.", "")

    def genesis(self) -> Genesis:
        raise EvidenceError("No genesis.", "")

    def blocks(self) -> Iterator[RawBlock]:
        return iter(())

    def checkpoints(self) -> tuple[SignedCheckpoint, ...]:
        return ()


def encrypted(seed: int, parameters: int = PARAMETERS) -> tuple[bytes, ...]:
    """A hospital's update as it really looks, under a key of its own."""
    rng = np.random.default_rng(seed)
    delta = rng.normal(0, 0.01, parameters).astype(np.float32)
    plan = round_plan(parameters, len(ADDRESSES), setting.load())
    return encrypt(PrivateUpdate(delta, NO_PRIVACY), 10, 40, plan, RoundKey.generate(), ROUND_SEED, rng).chunks


def total(*updates: Sequence[bytes]) -> tuple[bytes, ...]:
    """The sum of updates, ciphertext by ciphertext."""
    running = updates[0]
    for update in updates[1:]:
        running = [add_ciphertexts(left, right) for left, right in zip(running, update, strict=True)]
    return tuple(running)


def root(chunks: Sequence[bytes]) -> bytes:
    return merkle_root([sha256(chunk) for chunk in chunks])


def committed(place: int, chunks: Sequence[bytes], event: PrivacyEvent = NO_PRIVACY) -> CommittedUpdate:
    """A commitment to these ciphertexts."""
    length = sum(len(chunk) for chunk in chunks)
    return CommittedUpdate(
        ADDRESSES[place], Moment(9, 900), root(chunks), length, bytes([4]) * 32, 10, event, bytes([5]) * 32
    )


def story(
    updates: Sequence[CommittedUpdate],
    aggregate_hash: bytes | None = None,
    included: Sequence[int] = (),
    **changes: object,
) -> RoundStory:
    """A round, accepted where it has an aggregate and open where not."""
    places = [ADDRESSES.index(update.hospital) for update in updates]
    made = RoundStory(
        round_index=1,
        settings_digest=bytes([1]) * 32,
        opened=Moment(8, 800),
        base_id=bytes([2]) * 32,
        context_fingerprint=bytes([3]) * 32,
        roster=tuple(RosterEntry(place, address, 10) for place, address in enumerate(ADDRESSES)),
        enrolled_total=40,
        submission_deadline=1_400,
        threshold=3,
        updates={update.hospital: update for update in updates},
    )
    if aggregate_hash is not None:
        made.closed, made.aggregate_hash, made.outcome = Moment(10, 1_000), aggregate_hash, RoundPhase.ACCEPTED
        made.ended, made.included, made.included_weight = Moment(11, 1_100), tuple(included), 10 * len(included)
        made.exclusions = {ADDRESSES[place]: "WrongPrivacyEvent" for place in places if place not in included}
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def lines(report: Report, step: Step, status: Status) -> list[Line]:
    """Lines of one step that ended in one way."""
    return [line for line in report.lines if line.step is step and line.status is status]


def only(report: Report, step: Step, status: Status) -> Line:
    """The one line of a step that ended in one way."""
    (line,) = lines(report, step, status)
    return line


def claims(**changes: object) -> Claims:
    """What a run says that says as little as it can."""
    bare = Claims("run", 7, ADDRESSES[0], None, (), {}, {}, None, None, None, None)
    return dataclasses.replace(bare, **changes)  # type: ignore[arg-type]


def executed_blocks(url: str) -> list[ExecutedBlock]:
    """The blocks of a running node, as its own receipts tell them."""
    web3 = Web3(Web3.HTTPProvider(url))
    blocks = []
    for number in range(1, web3.eth.block_number + 1):
        block = web3.eth.get_block(number, full_transactions=True)
        transactions = []
        for position, sent in enumerate(block["transactions"]):
            assert isinstance(sent, Mapping)
            receipt = web3.eth.get_transaction_receipt(sent["hash"])
            logs = tuple(
                Log(bytes.fromhex(log["address"][2:]), tuple(bytes(t) for t in log["topics"]), bytes(log["data"]))
                for log in receipt["logs"]
            )
            transactions.append(
                ExecutedTransaction(
                    block=number,
                    timestamp=block["timestamp"],
                    position=position,
                    transaction_hash=bytes(sent["hash"]),
                    chain_id=sent.get("chainId"),
                    sender=Address(sent["from"]),
                    to=Address(sent["to"]) if sent.get("to") else None,
                    created=Address(str(receipt["contractAddress"])) if receipt.get("contractAddress") else None,
                    data=bytes(sent["input"]),
                    succeeded=receipt["status"] == 1,
                    logs=logs,
                )
            )
        blocks.append(ExecutedBlock(number, bytes(block["hash"]), block["timestamp"], tuple(transactions)))
    return blocks
