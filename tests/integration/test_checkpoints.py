"""What hospitals remember of the ledger, and that they refuse one that was rewritten, cut or swapped since."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from expected_replies import failure_in
from federation import Federation, founded
from flwr.app import Message
from shared_runs import AFTER_A_ROUND, SharedRuns, rounds_before
from signed_structs import change

import client
from blockchain.consortium.remembering import check_remembered, gather_trust, remember
from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from blockchain.signing.checkpoints import SignedCheckpoint, recover_checkpoint_signer, sign_checkpoint
from commands.simulate.conclusion import conclude
from fedward.errors import EvidenceError, VerificationError
from fedward.folders.hospital import HospitalFolder
from fedward.messages import wire
from fedward.messages.replies import Failure
from fedward.messages.signed import read_signed, write_signed
from fedward.timing import Stopwatch
from fedward.types import HospitalId


@pytest.fixture
def federation(request: pytest.FixtureRequest, tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run", rounds=rounds_before(request)) as made:
        yield made


def first(federation: Federation) -> HospitalFolder:
    """The folder of the first hospital."""
    return federation.folder.hospital(HospitalId("hospital-1"))


def read(line: bytes) -> SignedCheckpoint:
    """A line of `checkpoints.jsonl`."""
    return read_signed(SignedCheckpoint, line, "The line", EvidenceError, "")


def asked_to_train(federation: Federation, round_index: int) -> Failure:
    """How the first hospital's handler fails when a round is opened."""
    request = Message(wire.round_records(round_index, {}), dst_node_id=1, message_type="train")
    federation.grid.push_messages([request])
    reply = client.take_part(federation.grid.requests[-1], federation.context(1))
    return failure_in(reply)


def rewrite_last(federation: Federation, **changes: object) -> None:
    """Change what the first hospital remembers last, under its own signature: to it, the ledger has changed."""
    folder = first(federation)
    last = read(folder.checkpoints()[-1]).checkpoint
    changed = dataclasses.replace(last, **changes)  # type: ignore[arg-type]
    folder.save_checkpoint(write_signed(sign_checkpoint(changed, Identity.load(folder.identity))))


@AFTER_A_ROUND
def test_each_hospital_signs_what_it_saw_twice_a_round(federation: Federation) -> None:
    federation.lead_round()
    for member in federation.folder.server.load_record().roster:
        points = [read(line) for line in federation.folder.hospital(member.hospital).checkpoints()]
        assert [point.checkpoint.round_index for point in points] == [1, 1, 2, 2]
        heights = [point.checkpoint.height for point in points]
        assert heights == sorted(set(heights))
        for point in points:
            assert recover_checkpoint_signer(point) == member.address == point.checkpoint.hospital
            assert federation.ledger.block_hash(point.checkpoint.height) == point.checkpoint.block_hash
            assert federation.ledger.latest_round(point.checkpoint.height) == point.checkpoint.round_index


def test_nothing_is_added_where_no_block_came_since(federation: Federation) -> None:
    folder = first(federation)
    for _ in range(2):
        remember(folder, federation.ledger, Identity.load(folder.identity))
    (line,) = folder.checkpoints()
    assert read(line).checkpoint.height == federation.ledger.head().height
    check_remembered(folder, federation.ledger)


@AFTER_A_ROUND
@pytest.mark.parametrize("case", ["rewritten", "cut"])
def test_a_rewritten_or_cut_ledger_gets_no_update_and_no_vote(federation: Federation, case: str) -> None:
    spent = first(federation).privacy_record.read_text()
    federation.server().ledger.open_round()
    if case == "rewritten":
        rewrite_last(federation, block_hash=bytes(32))
    else:
        rewrite_last(federation, height=federation.ledger.head().height + 1)
    failure = asked_to_train(federation, 2)
    assert failure.exit_code == VerificationError.exit_code
    assert "rewritten or cut" in failure.what
    assert "is missing" in failure.what if case == "cut" else "is missing" not in failure.what
    assert "Do not take part" in failure.remedy
    assert first(federation).privacy_record.read_text() == spent


def test_a_hospital_does_not_vote_on_a_ledger_that_changed_since_it_sent_its_update(federation: Federation) -> None:
    def tamper(node: int, reply: Message) -> Message:
        if node == 1 and "commitment" in reply.content:
            rewrite_last(federation, block_hash=bytes(32))
        return reply

    federation.grid.tamper = tamper
    metrics = federation.lead_round()
    assert metrics["submitted"] == 3
    assert metrics["accepts"] == 2
    assert "rewritten or cut" in str(metrics["failures"])


def test_another_chain_of_the_same_contract_address_is_refused(tmp_path: Path) -> None:
    """The same server key deploys at the same address on every chain; what a hospital saw tells them apart."""
    with founded(tmp_path / "mine") as mine, founded(tmp_path / "other") as other:
        folder = first(mine)
        remember(folder, mine.ledger, Identity.load(folder.identity))
        with pytest.raises(VerificationError, match="last saw contract"):
            check_remembered(folder, other.ledger)
        folder.join(dataclasses.replace(folder.membership(), genesis_hash=other.ledger.genesis_hash().hex()))
        mine.server().ledger.open_round()
        failure = asked_to_train(mine, 1)
        assert "Block 0" in failure.what
        with pytest.raises(VerificationError, match="different ledgers"):
            gather_trust([(m, mine.folder.hospital(m.hospital)) for m in mine.folder.server.load_record().roster])


@pytest.mark.parametrize("line", ["5", "[" * 1_000_000, "{}", '{"chain_id": -1}', '"x"', None])
def test_a_damaged_memory_is_said_and_is_no_accusation(federation: Federation, line: str | None) -> None:
    folder = first(federation)
    remember(folder, federation.ledger, Identity.load(folder.identity))
    if line is None:  # one digit of the block's hash: the signature no longer holds
        stored = folder.checkpoints()[-1]
        block_hash = read(stored).checkpoint.block_hash
        line = change(stored, block_hash=bytes([block_hash[0] ^ 1]) + block_hash[1:]).decode()
    (folder.path / "checkpoints.jsonl").write_text(line + "\n")
    with pytest.raises(EvidenceError, match=r"damaged|A checkpoint in .* is (malformed|no JSON|longer)"):
        check_remembered(folder, federation.ledger)


@AFTER_A_ROUND
def test_a_finished_run_leaves_the_trust_file_with_every_hospitals_last_word(federation: Federation) -> None:
    conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())
    conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())
    trust, record = TrustFile.load(federation.folder.trust), federation.folder.server.load_record()
    assert trust.genesis_hash == federation.ledger.genesis_hash() == bytes.fromhex(record.genesis_hash)
    assert (trust.chain_id, trust.contract) == (federation.ledger.chain_id, federation.ledger.contract)
    assert trust.hospitals == {member.hospital: member.address for member in record.roster}
    assert trust.witnesses == ()
    head = federation.ledger.head()
    for member in record.roster:
        own = [point for point in trust.checkpoints if point.checkpoint.hospital == member.address]
        assert len(own) == 3
        assert all(recover_checkpoint_signer(point) == member.address for point in own)
        last = own[-1].checkpoint
        assert (last.height, last.block_hash, last.ledger_head) == tuple(head)


@AFTER_A_ROUND
def test_no_model_is_taken_from_a_ledger_that_a_hospital_saw_otherwise(federation: Federation) -> None:
    rewrite_last(federation, block_hash=bytes(32))
    with pytest.raises(VerificationError, match="rewritten or cut"):
        conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())
    assert not federation.folder.trust.exists()
