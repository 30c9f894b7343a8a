"""The audit's steps over the chain: an untouched chain passes, and each kind of tampering fails the step it belongs to.

The chain is a real one, made by the embedded node for a whole round; it is changed as RLP, as somebody would who holds
the only copy, once leaving the hashes of later blocks as they were, once with every later block linked anew.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import rlp
from consortium import CHAIN_ID, Chain, Clock, Consortium
from eth.chains.base import MiningChain
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.vm.forks.cancun import CancunVM
from eth_keys import keys  # type: ignore[attr-defined]
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from blockchain.audit.checks.replay import HistoryChecker
from blockchain.audit.history import ExecutedBlock, ledger_events
from blockchain.audit.report import Report, Status, Step
from blockchain.audit.sources.evidence import Genesis, RawBlock
from blockchain.identity import Identity
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.fold import fold
from blockchain.node.chain import FUNDED_WEI, EmbeddedChain
from blockchain.node.embedded import start_node
from blockchain.node.store import ChainStore
from fedward.errors import EvidenceError
from fedward.types import Address

PARENT, STATE, TRANSACTION_ROOT, RECEIPT_ROOT, BLOOM, DIFFICULTY, NUMBER, GAS_LIMIT, GAS_USED = (
    0,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
)
TIMESTAMP, EXTRA, BASE_FEE, WITHDRAWALS_ROOT, BLOB_GAS, EXCESS_BLOB_GAS = 11, 12, 15, 16, 17, 18
HEADERS, ROOTS, SENDERS, EXECUTION, GENESIS = Step.HEADERS, Step.ROOTS, Step.SENDERS, Step.EXECUTION, Step.GENESIS
ROGUE = keys.PrivateKey(bytes([7]) * 32)  # has money, and signs what the node would refuse

Body = list[Any]  # header, transactions, uncles and withdrawals, as RLP has them


@dataclass
class Kept:
    """A chain's evidence in memory."""

    genesis_header: bytes
    balances: dict[Address, int]
    raw: list[RawBlock]
    live: bool = False
    source: str = "memory"
    broken: EvidenceError | None = None
    read: list[int] = field(default_factory=list)

    def genesis(self) -> Genesis:
        if self.live:
            raise EvidenceError("A node does not tell.", "Give a bundle.")
        return Genesis(self.genesis_header, self.balances)

    def blocks(self) -> Iterator[RawBlock]:
        yield from self.raw
        if self.broken:
            raise self.broken


@dataclass(frozen=True)
class Recorded:
    """A chain that a consortium made.

    Attributes:
        folder: Where its store lies.
        evidence: All of it.
        contract: Where its ledger lies.
        head: What the node said the ledger head was.
        receipts: Of each block, encoded.
        accounts: Who had money from the start.
    """

    folder: Path
    evidence: Kept
    contract: Address
    head: bytes
    receipts: tuple[tuple[bytes, ...], ...]

    @property
    def genesis_hash(self) -> bytes:
        return bytes(keccak(self.evidence.genesis_header))

    def bodies(self) -> list[Body]:
        return [rlp.decode(raw.block) for raw in self.evidence.raw]

    def with_bodies(self, bodies: Sequence[Body]) -> Kept:
        raw = [RawBlock(place, rlp.encode(body)) for place, body in enumerate(bodies, start=1)]
        return replace(self.evidence, raw=raw)


def read_back(folder: Path, funded: Sequence[Address]) -> tuple[Kept, tuple[tuple[bytes, ...], ...]]:
    """A stopped node's chain, with its receipts."""
    chain = EmbeddedChain(folder, CHAIN_ID, funded)
    try:
        numbers = range(chain.head().block_number + 1)
        blocks = [block for block in map(chain.block_by_number, numbers) if block]
        receipts = tuple(tuple(receipt.encode() for receipt in chain.receipts(block)) for block in blocks[1:])
    finally:
        chain.close()
    raw = [RawBlock(block.number, rlp.encode(block)) for block in blocks[1:]]
    balances = dict.fromkeys(funded, FUNDED_WEI)
    return Kept(rlp.encode(blocks[0].header), balances, raw), receipts


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Three hospitals found a ledger, play an accepted round and begin another."""
    folder = tmp_path_factory.mktemp("chain")
    names = ("server", "founder", "stranger", "hospital-1", "hospital-2", "hospital-3")
    server, founder, stranger, *people = [Identity.create(folder / name) for name in names]
    rogue = Address(ROGUE.public_key.to_checksum_address())
    funded = [rogue, *(identity.address for identity in (server, founder, stranger, *people))]
    clock = Clock()
    with start_node(folder / "ledger", CHAIN_ID, funded, clock=clock) as node:
        consortium = Consortium.found(Chain(node, clock, server, founder, stranger, tuple(people)))
        clock.ahead_s += 10  # so that the last founding block could as well be a second later
        consortium.to_voting()
        consortium.vote(True, True, False)
        consortium.finalize()
        consortium.open_round()
        head, contract = consortium.ledger.head().ledger_head, consortium.ledger.contract
        consortium.close()
    evidence, receipts = read_back(folder / "ledger", funded)
    return Recorded(folder / "ledger", evidence, contract, head, receipts)


@dataclass(frozen=True)
class Verdict:
    """What an audit came to."""

    report: Report
    checker: HistoryChecker
    blocks: list[ExecutedBlock]

    def steps(self, status: Status) -> set[Step]:
        return {line.step for line in self.report.lines if line.status is status}

    def text(self, step: Step, status: Status = Status.FAIL) -> str:
        return next(line.evidence for line in self.report.lines if line.step is step and line.status is status)


def audit(recorded: Recorded, evidence: Kept, trusted: bool = True, contract: Address | None = None) -> Verdict:
    report = Report()
    genesis_hash = recorded.genesis_hash if trusted else None
    checker = HistoryChecker(evidence, report, CHAIN_ID, contract or recorded.contract, genesis_hash)  # type: ignore[arg-type]
    return Verdict(report, checker, checker.run())


def relink(bodies: list[Body]) -> None:
    """Link every block to the one before it, from block 2 on."""
    for before, body in itertools.pairwise(bodies):
        body[0][PARENT] = keccak(rlp.encode(before[0]))


def number_of(recorded: Recorded, event: str) -> int:
    """The block of the first event of a kind."""
    blocks = audit(recorded, recorded.evidence).blocks
    return next(item.block for item in ledger_events(blocks, recorded.contract) if item.name == event)


def own_logs(blocks: Sequence[ExecutedBlock]) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
    """Topics and data of every event; nobody but the ledger emits any."""
    for block in blocks:
        for transaction in block.transactions:
            yield from ((log.topics, log.data) for log in transaction.logs)


# ---- what was not touched -------------------------------------------------------------------------------------------


def test_an_untouched_chain_passes_every_step(recorded: Recorded) -> None:
    verdict = audit(recorded, recorded.evidence)
    assert {line.status for line in verdict.report.lines} == {Status.OK}
    assert verdict.steps(Status.OK) == {GENESIS, HEADERS, ROOTS, SENDERS, EXECUTION}
    assert len(verdict.blocks) == len(recorded.evidence.raw) > 10
    assert verdict.checker.contract_head() == recorded.head == fold(own_logs(verdict.blocks))
    assert verdict.checker.genesis_hash == recorded.genesis_hash
    linked = [rlp.decode(raw.block)[0][PARENT] for raw in recorded.evidence.raw]
    assert [verdict.checker.block_hashes[number] for number in range(len(linked))] == linked
    assert [block.block_hash for block in verdict.blocks[:-1]] == linked[1:]


def test_the_ledger_head_after_each_block_is_the_running_head_of_the_events(recorded: Recorded) -> None:
    verdict = audit(recorded, recorded.evidence)
    heads: dict[int, bytes] = {}
    for event in ledger_events(verdict.blocks, recorded.contract):
        heads[event.block] = event.ledger_head
    raw = recorded.evidence.raw
    ends = {height: audit(recorded, replace(recorded.evidence, raw=raw[:height])) for height in heads}
    assert {height: verdict.checker.contract_head() for height, verdict in ends.items()} == heads


def test_what_a_transaction_is_and_came_to(recorded: Recorded) -> None:
    first = audit(recorded, recorded.evidence).blocks[0]
    (deployment,) = first.transactions
    assert (deployment.created, deployment.to, deployment.succeeded) == (recorded.contract, None, True)
    assert (deployment.block, deployment.position, deployment.chain_id) == (1, 0, CHAIN_ID)
    assert deployment.data.startswith(load_artifact().bytecode)
    assert deployment.sender in recorded.evidence.balances
    assert all(log.address == to_canonical_address(recorded.contract) for log in deployment.logs)


def test_without_trust_the_genesis_is_missing(recorded: Recorded) -> None:
    verdict = audit(recorded, recorded.evidence, trusted=False)
    assert "--trust" in verdict.text(GENESIS, Status.MISSING)
    assert not verdict.steps(Status.FAIL)


def test_a_run_of_its_progress(recorded: Recorded) -> None:
    told: list[tuple[int, int]] = []
    evidence: Any = recorded.evidence
    HistoryChecker(evidence, Report(), CHAIN_ID, recorded.contract, None, lambda *at: told.append(at)).run()
    total = len(recorded.evidence.raw)
    assert told == [(number, total) for number in range(1, total + 1)]


# ---- genesis --------------------------------------------------------------------------------------------------------


def test_another_genesis_than_the_trusted_one(recorded: Recorded) -> None:
    report, evidence = Report(), recorded.evidence
    HistoryChecker(evidence, report, CHAIN_ID, recorded.contract, bytes(32)).run()  # type: ignore[arg-type]
    assert report.failed(GENESIS)
    assert "0x" + bytes(32).hex() in report.lines[0].evidence


def test_accounts_that_block_0_does_not_name(recorded: Recorded) -> None:
    some = next(iter(recorded.evidence.balances))
    balances = {**recorded.evidence.balances, some: FUNDED_WEI + 1}
    verdict = audit(recorded, replace(recorded.evidence, balances=balances))
    assert verdict.steps(Status.FAIL) == {GENESIS, EXECUTION}


@pytest.mark.parametrize("header", [b"", b"\xc0", keccak(b"random") * 20])
def test_an_unreadable_genesis(recorded: Recorded, header: bytes) -> None:
    verdict = audit(recorded, replace(recorded.evidence, genesis_header=header))
    assert verdict.steps(Status.FAIL) == {GENESIS}
    assert EXECUTION in verdict.steps(Status.MISSING)
    assert verdict.checker.contract_head() is None
    assert verdict.checker.genesis_hash is None
    assert verdict.blocks == []


@pytest.mark.parametrize("balance", [-1, 2**256])
def test_impossible_balances(recorded: Recorded, balance: int) -> None:
    some = next(iter(recorded.evidence.balances))
    verdict = audit(recorded, replace(recorded.evidence, balances={some: balance}))
    assert verdict.steps(Status.FAIL) == {GENESIS}


def test_a_chain_without_blocks(recorded: Recorded) -> None:
    verdict = audit(recorded, replace(recorded.evidence, raw=[]))
    assert not verdict.steps(Status.FAIL)
    assert verdict.steps(Status.MISSING) == {GENESIS, HEADERS}


def test_blocks_that_could_not_all_be_handed_over(recorded: Recorded) -> None:
    broken = EvidenceError("Block 9 is missing.", "Ask for it.")
    verdict = audit(recorded, replace(recorded.evidence, raw=recorded.evidence.raw[:8], broken=broken))
    assert verdict.steps(Status.MISSING) == {Step.EVIDENCE}
    assert len(verdict.blocks) == 8


# ---- one field of a header ------------------------------------------------------------------------------------------


def changed(value: bytes) -> bytes:
    """The same length, the last bit turned."""
    return value[:-1] + bytes([value[-1] ^ 1])


def later(value: bytes) -> bytes:
    return rlp.encode(int.from_bytes(value, "big") + 1)[-len(value) :]


FIELDS: list[tuple[str, int, Callable[[bytes], bytes], set[Step], set[Step]]] = [
    # name, field, change, steps that fail as it stands, steps that fail where later blocks are linked anew
    ("state root", STATE, changed, {HEADERS, EXECUTION}, {EXECUTION}),
    ("transaction root", TRANSACTION_ROOT, changed, {HEADERS, ROOTS}, {ROOTS}),
    ("receipt root", RECEIPT_ROOT, changed, {HEADERS, ROOTS}, {ROOTS}),
    ("bloom", BLOOM, changed, {HEADERS, ROOTS}, {ROOTS}),
    ("gas used", GAS_USED, changed, {HEADERS, ROOTS}, {ROOTS}),
    ("more gas used than allowed", GAS_USED, lambda _: b"\x7f" * 4, {HEADERS, ROOTS}, {HEADERS, ROOTS}),
    ("blob gas", BLOB_GAS, lambda _: b"\x01", {HEADERS}, {HEADERS}),
    ("difficulty", DIFFICULTY, lambda _: b"\x01", {HEADERS}, {HEADERS}),
    ("timestamp", TIMESTAMP, later, {HEADERS}, set()),  # what the block does not read is for the checkpoints
    ("extra data", EXTRA, lambda _: b"mine", {HEADERS}, set()),
    ("too much extra data", EXTRA, lambda _: bytes(33), {HEADERS}, {HEADERS}),
    # More gas than this chain allows is not run either.
    ("gas limit", GAS_LIMIT, lambda _: rlp.encode(60_000_000)[1:], {HEADERS, EXECUTION}, {HEADERS, EXECUTION}),
    ("base fee", BASE_FEE, lambda _: b"\x08", {HEADERS, EXECUTION}, {HEADERS, EXECUTION}),  # senders pay it
    ("withdrawals root", WITHDRAWALS_ROOT, changed, {HEADERS}, {HEADERS}),
    ("number", NUMBER, lambda _: b"\x7f", {HEADERS}, {HEADERS}),
    ("parent", PARENT, changed, {HEADERS}, {HEADERS}),
]


@pytest.mark.parametrize("linked_anew", [False, True])
@pytest.mark.parametrize(("name", "place", "change", "as_it_stands", "anew"), FIELDS, ids=[item[0] for item in FIELDS])
def test_one_field_of_a_header(
    recorded: Recorded,
    name: str,
    place: int,
    change: Callable[[bytes], bytes],
    as_it_stands: set[Step],
    anew: set[Step],
    linked_anew: bool,
) -> None:
    number = number_of(recorded, "ContextSet")
    bodies = recorded.bodies()
    bodies[number - 1][0][place] = change(bodies[number - 1][0][place])
    if linked_anew:
        tail = bodies[number - 1 :]
        relink(tail)
    verdict = audit(recorded, recorded.with_bodies(bodies))
    assert verdict.steps(Status.FAIL) == (anew if linked_anew else as_it_stands), verdict.report.lines
    untouched = keccak(rlp.encode(recorded.bodies()[-1][0]))
    assert (verdict.checker.block_hashes[len(bodies)] != untouched) is linked_anew  # which is what checkpoints see
    # What the transactions lead to did not change; where a block may not be run, nobody says what they lead to.
    assert verdict.checker.contract_head() == (None if name == "gas limit" else recorded.head)


def test_the_first_difference_is_named_with_both_sides(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    true = bodies[4][0][STATE]
    for place in (4, 6):
        bodies[place][0][STATE] = changed(true)
    text = audit(recorded, recorded.with_bodies(bodies)).text(EXECUTION)
    assert "block 5" in text
    assert true.hex() in text
    assert changed(true).hex() in text
    assert "1 more" in text


def test_an_earlier_timestamp_than_the_parents(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    bodies[-1][0][TIMESTAMP] = bodies[-2][0][TIMESTAMP]
    assert HEADERS in audit(recorded, recorded.with_bodies(bodies)).steps(Status.FAIL)


def test_a_timestamp_that_a_deadline_follows_from(recorded: Recorded) -> None:
    bodies, number = recorded.bodies(), number_of(recorded, "RoundOpened")
    bodies[number - 1][0][TIMESTAMP] = later(bodies[number - 1][0][TIMESTAMP])
    relink(bodies)
    assert EXECUTION in audit(recorded, recorded.with_bodies(bodies)).steps(Status.FAIL)


def test_the_tips_extra_data_is_only_seen_in_its_hash(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    bodies[-1][0][EXTRA] = b"mine"
    verdict = audit(recorded, recorded.with_bodies(bodies))
    assert not verdict.steps(Status.FAIL)
    assert verdict.checker.block_hashes[len(bodies)] == keccak(rlp.encode(bodies[-1][0]))


# ---- bodies and their order -----------------------------------------------------------------------------------------


def test_a_changed_transaction(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    transaction = bodies[5][1][0]
    bodies[5][1][0] = transaction[:-1] + bytes([transaction[-1] ^ 1])  # a typed one: the last bit of its signature
    verdict = audit(recorded, recorded.with_bodies(bodies))
    assert {ROOTS, EXECUTION} <= verdict.steps(Status.FAIL) <= {ROOTS, SENDERS, EXECUTION}
    assert "transaction root of block 6" in verdict.text(ROOTS).lower()


def test_a_transaction_left_out(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    bodies[-1][1] = []
    assert audit(recorded, recorded.with_bodies(bodies)).steps(Status.FAIL) == {ROOTS, EXECUTION}


def test_a_transaction_that_cannot_be_read(recorded: Recorded) -> None:
    for broken in (b"", b"\x02", b"\x7f\xc0", [], [b"", [b""]], [b"\xff" * 40] * 9):
        bodies = recorded.bodies()
        bodies[-1][1] = [broken]
        assert audit(recorded, recorded.with_bodies(bodies)).steps(Status.FAIL) == {ROOTS, SENDERS, EXECUTION}


@pytest.mark.parametrize("linked_anew", [False, True])
def test_a_dropped_block(recorded: Recorded, linked_anew: bool) -> None:
    bodies = recorded.bodies()
    del bodies[5]
    if linked_anew:
        relink(bodies)
    verdict = audit(recorded, recorded.with_bodies(bodies))
    assert HEADERS in verdict.steps(Status.FAIL)
    assert "block 6" in verdict.text(HEADERS)
    if not linked_anew:
        assert verdict.steps(Status.FAIL) == {HEADERS}
        assert verdict.steps(Status.MISSING) == {EXECUTION}
        assert len(verdict.blocks) == 5
        assert verdict.checker.contract_head() is None


def test_a_dropped_block_with_all_after_it_numbered_and_linked_anew(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    del bodies[5]
    for number, body in enumerate(bodies, start=1):
        body[0][NUMBER] = bytes([number])
    relink(bodies)
    verdict = audit(recorded, recorded.with_bodies(bodies))
    assert EXECUTION in verdict.steps(Status.FAIL)
    assert HEADERS not in verdict.steps(Status.FAIL)


def test_swapped_blocks(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    bodies[5], bodies[6] = bodies[6], bodies[5]
    verdict = audit(recorded, recorded.with_bodies(bodies))
    assert verdict.steps(Status.FAIL) == {HEADERS}
    assert "block 7" in verdict.text(HEADERS)


def test_a_cut_tail_is_for_the_checkpoints(recorded: Recorded) -> None:
    verdict = audit(recorded, replace(recorded.evidence, raw=recorded.evidence.raw[:-3]))
    assert {line.status for line in verdict.report.lines} == {Status.OK}


def test_uncles_and_withdrawals(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    bodies[3][3] = [[b"\x01", b"\x01", bytes(20), b"\x01"]]
    assert audit(recorded, recorded.with_bodies(bodies)).steps(Status.FAIL) == {HEADERS}


# ---- transactions that the node would never have taken --------------------------------------------------------------


def extended(recorded: Recorded, tmp_path: Path, *made: tuple[int | None, bytes, bytes]) -> Kept:
    """The chain with one more block, built by py-evm alone: transactions of the rogue, by chain id, receiver, data."""
    (tmp_path / "ledger").mkdir()
    source = recorded.folder / "chain.sqlite"
    (tmp_path / "ledger" / "chain.sqlite").write_bytes(source.read_bytes())
    store = ChainStore(tmp_path / "ledger" / "chain.sqlite")
    chain = MiningChain.configure("Rogue", vm_configuration=((0, CancunVM),), chain_id=CHAIN_ID)(store)
    transactions = []
    for nonce, (chain_id, to, data) in enumerate(made):
        unsigned = chain.create_unsigned_transaction(
            nonce=nonce, gas_price=10**9, gas=8_000_000, to=to, value=0, data=data
        )
        transactions.append(unsigned.as_signed_transaction(ROGUE, chain_id=chain_id))
    head = chain.get_canonical_head()
    with store.transaction():
        chain.mine_all(transactions, parent_header=head, timestamp=head.timestamp + 1, gas_limit=head.gas_limit)
    store.close()
    evidence, _ = read_back(tmp_path / "ledger", list(recorded.evidence.balances))
    return evidence


@pytest.mark.parametrize("chain_id", [CHAIN_ID + 1, 1, None])
def test_a_transaction_of_a_foreign_chain(recorded: Recorded, tmp_path: Path, chain_id: int | None) -> None:
    evidence = extended(recorded, tmp_path, (CHAIN_ID, bytes([9]) * 20, b""), (chain_id, bytes([9]) * 20, b""))
    verdict = audit(recorded, evidence)
    assert verdict.steps(Status.FAIL) == {SENDERS}
    assert "transaction 1 of block" in verdict.text(SENDERS)
    last = verdict.blocks[-1].transactions[-1]
    assert (last.chain_id, last.sender) == (chain_id, ROGUE.public_key.to_checksum_address())


def deploying(runtime: bytes) -> bytes:
    """Code whose run leaves this code."""
    size = len(runtime).to_bytes(2, "big")
    return b"\x61" + size + b"\x60\x0d\x5f\x39\x61" + size + b"\x5f\xf3" + b"\x00" + runtime


def test_a_contract_with_other_code(recorded: Recorded, tmp_path: Path) -> None:
    evidence = extended(recorded, tmp_path, (CHAIN_ID, CREATE_CONTRACT_ADDRESS, deploying(b"\x60\x01")))
    contract = to_checksum_address(keccak(rlp.encode([ROGUE.public_key.to_canonical_address(), 0]))[-20:])
    verdict = audit(recorded, evidence, contract=Address(contract))
    assert verdict.steps(Status.FAIL) == {GENESIS}
    assert keccak(b"\x60\x01").hex() in verdict.text(GENESIS)
    assert keccak(load_artifact().deployed).hex() in verdict.text(GENESIS)
    assert verdict.checker.contract_head() is None


def test_the_right_code_put_there_by_another_constructor(recorded: Recorded, tmp_path: Path) -> None:
    init = deploying(load_artifact().deployed)
    evidence = extended(recorded, tmp_path, (CHAIN_ID, CREATE_CONTRACT_ADDRESS, init))
    contract = to_checksum_address(keccak(rlp.encode([ROGUE.public_key.to_canonical_address(), 0]))[-20:])
    verdict = audit(recorded, evidence, contract=Address(contract))
    assert verdict.steps(Status.FAIL) == {GENESIS}
    assert "deployed in block" in verdict.text(GENESIS)


def test_a_contract_that_is_not_there(recorded: Recorded) -> None:
    verdict = audit(recorded, recorded.evidence, contract=Address("0x" + "11" * 20))
    assert verdict.steps(Status.MISSING) == {GENESIS}


# ---- a node's word --------------------------------------------------------------------------------------------------


def live(recorded: Recorded) -> Kept:
    raw = [replace(item, receipts=own) for item, own in zip(recorded.evidence.raw, recorded.receipts, strict=True)]
    return replace(recorded.evidence, raw=raw, live=True)


def test_a_nodes_receipts_tell_what_execution_tells(recorded: Recorded) -> None:
    verdict = audit(recorded, live(recorded))
    assert verdict.blocks == audit(recorded, recorded.evidence).blocks
    assert not verdict.steps(Status.FAIL)
    assert verdict.steps(Status.NOTE) == {EXECUTION}
    assert "is this node's word" in verdict.text(EXECUTION, Status.NOTE)
    assert verdict.steps(Status.OK) == {GENESIS, HEADERS, ROOTS, SENDERS}


def test_a_node_that_gives_other_receipts(recorded: Recorded) -> None:
    evidence = live(recorded)
    for receipts in ((), recorded.receipts[0], (b"\x05",), (b"",)):
        evidence.raw[6] = replace(evidence.raw[6], receipts=receipts)
        assert audit(recorded, evidence).steps(Status.FAIL) == {ROOTS}
    evidence.raw[6] = replace(evidence.raw[6], receipts=None)
    verdict = audit(recorded, evidence)
    assert not verdict.steps(Status.FAIL)
    assert ROOTS in verdict.steps(Status.MISSING)


def test_a_header_of_a_later_fork_is_read_from_a_node_only(recorded: Recorded) -> None:
    bodies = recorded.bodies()
    for body in bodies:
        body[0].append(bytes(32))  # the requests hash, from Prague on
    bodies[0][0][PARENT] = recorded.genesis_hash
    relink(bodies)
    evidence = live(recorded)
    evidence.raw = [replace(raw, block=rlp.encode(body)) for raw, body in zip(evidence.raw, bodies, strict=True)]
    verdict = audit(recorded, evidence)
    assert not verdict.steps(Status.FAIL)
    assert verdict.checker.block_hashes[3] == keccak(rlp.encode(bodies[2][0]))
    assert HEADERS in audit(recorded, recorded.with_bodies(bodies)).steps(Status.FAIL)


# ---- any bytes ------------------------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """Lists within lists."""
    heads, size = [], 0
    for _ in range(depth):
        length = size.to_bytes((size.bit_length() + 7) // 8, "big")
        heads.append(bytes([0xC0 + size]) if size < 56 else bytes([0xF7 + len(length)]) + length)
        size += len(heads[-1])
    return b"".join(reversed(heads))


BYTES = {
    "none": b"",
    "a list of nothing": b"\xc0",
    "four empty lists": b"\xc4\xc0\xc0\xc0\xc0",
    "a length beyond memory": b"\xbf" + b"\xff" * 8,
    "a length of zeros": b"\xf8\x00",
    "lists 30,000 deep": nested(30_000),
    "random": keccak(b"random") * 90,
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES.keys())
def test_bytes_in_place_of_a_block(recorded: Recorded, content: bytes) -> None:
    raw = copy.copy(recorded.evidence.raw)
    raw[7] = RawBlock(8, content)
    verdict = audit(recorded, replace(recorded.evidence, raw=raw))
    assert verdict.steps(Status.FAIL) == {HEADERS}
    assert verdict.steps(Status.MISSING) == {EXECUTION}
    assert "Block 8" in verdict.text(HEADERS)
    assert len(verdict.blocks) == 7


@pytest.mark.parametrize("place", range(20))
def test_a_field_of_9000_bytes(recorded: Recorded, place: int) -> None:
    bodies = recorded.bodies()
    bodies[7][0][place] = b"\x01" * 9_000
    assert HEADERS in audit(recorded, recorded.with_bodies(bodies)).steps(Status.FAIL)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_single_byte_of_the_chain_can_change_unseen(recorded: Recorded, data: st.DataObject) -> None:
    number = data.draw(st.integers(min_value=1, max_value=len(recorded.evidence.raw)))
    content = bytearray(recorded.evidence.raw[number - 1].block)
    content[data.draw(st.integers(min_value=0, max_value=len(content) - 1))] ^= data.draw(st.integers(1, 255))
    raw = copy.copy(recorded.evidence.raw)
    raw[number - 1] = RawBlock(number, bytes(content))
    verdict = audit(recorded, replace(recorded.evidence, raw=raw))
    tip = verdict.checker.block_hashes.get(len(raw))
    untouched = bytes(keccak(rlp.encode(recorded.bodies()[-1][0])))
    assert verdict.steps(Status.FAIL) or tip != untouched
