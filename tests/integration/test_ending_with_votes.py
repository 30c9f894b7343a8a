"""What ends a round goes with the last votes: how few blocks a round takes, and what is there if that was too early."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from federation import Federation
from shared_runs import SharedRuns

from blockchain.audit.auditor import audit
from blockchain.audit.report import Status
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.identity import Identity
from blockchain.ledger.flights import Call, Flight
from blockchain.ledger.ledger import ENDING_GAS, Ledger
from blockchain.ledger.records import RoundPhase
from fedward.errors import QuorumError
from fedward.types import Address, SignedCommitment, SignedVote
from server import lead_round

SCATTER = (("model.name", "scatter"),)
KINDS = {"in the clear": (), "encrypted": (("metrics.encrypted", True),)}


@pytest.fixture(params=KINDS)
def federation(tmp_path: Path, shared_runs: SharedRuns, request: pytest.FixtureRequest) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run", *SCATTER, *KINDS[request.param]) as made:
        yield made


def kept(federation: Federation, round_index: int) -> set[str]:
    """Whose counts the server kept of a round."""
    counts = federation.folder.server.counts.load(round_index)
    return {*counts.plain, *counts.encrypted} if counts else set()


def test_a_round_after_another_makes_three_blocks(federation: Federation) -> None:
    lead = federation.server()
    opening = lead_round(lead, another=True)
    height = federation.ledger.head().height
    following = lead_round(lead, opening, another=True)
    assert federation.ledger.head().height == height + 3
    assert following
    assert following.round_index == 3
    assert [federation.ledger.round(index).phase for index in (1, 2)] == [RoundPhase.ACCEPTED] * 2


def test_counts_are_on_the_disk_before_a_block_ends_their_round(federation: Federation) -> None:
    push, seen = Ledger.push, list[set[str]]()

    def look(ledger: Ledger, calls: Sequence[Call]) -> list[Flight]:
        if any(call.what.endswith("finalizeRound") for call in calls):
            seen.append(kept(federation, 1))
        return push(ledger, calls)

    with mock.patch.object(Ledger, "push", look):
        assert federation.lead_round()["phase"] == "accepted"
    assert seen == [{entry.address for entry in federation.ledger.roster()}]


@pytest.mark.parametrize("kind", KINDS)
def test_votes_that_fail_in_their_block_do_not_count_and_the_call_behind_them_records_nothing(
    tmp_path: Path, shared_runs: SharedRuns, kind: str
) -> None:
    """Two of three votes are taken in their trial runs, and not in the block."""
    with shared_runs.federation(tmp_path / "run", *SCATTER, *KINDS[kind]) as federation:
        honest, *others = (entry.address for entry in federation.ledger.roster())
        with losing_votes(federation, others), pytest.raises(QuorumError, match="Round 1 was not decided"):
            federation.lead_round()
        record = federation.ledger.round(1)
        assert (record.phase, record.accepts, record.rejects) == (RoundPhase.ABORTED, 1, 0)
        assert kept(federation, 1) == {honest}
        assert federation.lead_round()["phase"] == "accepted"
    found = audit(RunEvidence(tmp_path / "run"), None).report
    assert [line for line in found.lines if line.status is Status.FAIL] == []


@contextmanager
def losing_votes(federation: Federation, hospitals: Sequence[Address]) -> Iterator[None]:
    """In place of these hospitals' votes something is sent that fails in its block; deadlines come at once."""
    prepare = Ledger.prepare

    def fails_later(ledger: Ledger, signed: SignedCommitment | SignedVote) -> Call:
        if isinstance(signed, SignedVote) and signed.vote.hospital in hospitals:
            account = Identity.load(federation.folder.server.identity)
            return ledger._connection.untried(account, ENDING_GAS, "finalizeRound", 1)  # fails: votes are missing
        return prepare(ledger, signed)

    at_once = mock.patch("server.wait_until", lambda deadline, *_: federation.clock.move_to(deadline + 1))
    with mock.patch.object(Ledger, "prepare", fails_later), at_once:
        yield
