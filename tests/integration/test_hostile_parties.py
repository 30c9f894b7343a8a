"""What a server, or one hospital, could try against the others, and what it gets."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from cheats import cheating
from expected_replies import ballot_in, failure_in
from federation import Federation, keyless_ciphertexts, with_added
from flwr.app import Message, RecordDict
from shared_runs import AFTER_A_ROUND, SharedRuns, rounds_before
from signed_structs import tamper as change_members

import client
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundPhase
from encryption import RoundKey, encrypt
from fedward import settings as setting
from fedward.ciphertexts.aggregation import aggregate
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.serialized import sum_ciphertexts
from fedward.errors import QuorumError, VerificationError
from fedward.figures.histograms import BINS, ScoreHistogram
from fedward.files import merkle_root, sha256
from fedward.messages import wire
from fedward.messages.ballots import Ballot
from fedward.privacy.mechanism import expected_event
from fedward.types import EncryptedAggregate, HospitalId, PrivateUpdate, SignedVote, VerifiedUpdate


def forged_sum(federation: Federation, case: str, updates: Sequence[VerifiedUpdate], store: Path) -> EncryptedAggregate:
    """Something else than the sum of these updates, which is said to be it."""
    honest = aggregate(updates, store)
    chunks = [path.read_bytes() for path in honest.chunk_files]
    server = federation.server()
    plan = round_plan(server.parameters, 3, federation.settings)
    event = expected_event(federation.settings.privacy)
    if case == "too much added":
        big = PrivateUpdate(np.full(server.parameters, 1.0, np.float32), event)
        forged = tuple(chunks)
        for _ in range(3):
            forged = with_added(forged, keyless_ciphertexts(big, plan))
    elif case == "one left out":
        files = zip(*(update.chunk_files for update in updates[1:]), strict=True)
        forged = tuple(sum_ciphertexts(path.read_bytes() for path in paths) for paths in files)
    elif case == "under another key":
        nothing = PrivateUpdate(np.zeros(server.parameters, np.float32), event)
        more = encrypt(nothing, 1, 1, plan, RoundKey.generate(), bytes(32), np.random.default_rng(0))
        forged = with_added(chunks, more.chunks)
    else:
        last = bytearray(chunks[-1])
        last[6] ^= 1
        forged = (*chunks[:-1], bytes(last))
    root = merkle_root([sha256(chunk) for chunk in forged])
    ciphertexts = federation.folder.server.ciphertexts
    return EncryptedAggregate(tuple(ciphertexts.store(chunk) for chunk in forged), root, honest.included)


@pytest.fixture
def federation(request: pytest.FixtureRequest, tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run", rounds=rounds_before(request)) as made:
        yield made


def ask(federation: Federation, node: int, kind: str, round_index: int, aggregates: wire.Aggregates) -> Message:
    """What a hospital answers to a message of the server's own making."""
    federation.grid.absent = frozenset()
    request = Message(wire.round_records(round_index, aggregates), dst_node_id=node, message_type=kind)
    name = federation.grid.push_messages([request])[0]
    return next(iter(federation.grid.pull_messages([name])))


@AFTER_A_ROUND
def test_a_round_that_is_over_or_never_was_is_not_answered(federation: Federation) -> None:
    record = federation.folder.hospital(HospitalId("hospital-1")).privacy_record
    spent = record.read_text()
    federation.server().ledger.open_round()
    for kind, index in (("train", 1), ("evaluate", 1), ("evaluate", 2), ("train", 3)):
        assert failure_in(ask(federation, 1, kind, index, {})).what
    assert record.read_text() == spent


def test_strangers_on_the_roster_are_noticed(federation: Federation) -> None:
    folder = federation.folder.hospital(HospitalId("hospital-1"))
    membership = folder.membership()
    folder.join(dataclasses.replace(membership, roster_digest="00" * 32))
    federation.server().ledger.open_round()
    failure = failure_in(ask(federation, 1, "train", 1, {}))
    assert failure.exit_code == 7
    assert "roster" in failure.what


@pytest.mark.parametrize("change", [("chain-id", 777), ("min-included", 3), ("voting-timeout-s", 777)])
def test_another_chain_or_other_rules_are_refused(federation: Federation, change: tuple[str, int]) -> None:
    """The hospital agreed to these settings, and the server sends them; the ledger that is there follows others."""
    agreed = setting.replace(federation.settings, f"ledger.{change[0]}", change[1])
    federation.ledger.check_rules(federation.settings.ledger)
    with pytest.raises(VerificationError, match="agreed"):
        federation.ledger.check_rules(agreed.ledger)
    federation.server().ledger.open_round()
    folder = federation.folder.hospital(HospitalId("hospital-1"))
    folder.join(dataclasses.replace(folder.membership(), settings_digest=agreed.digest().hex()))
    federation.grid.settings = agreed
    failure = failure_in(ask(federation, 1, "train", 1, {}))
    assert failure.exit_code == VerificationError.exit_code
    assert "this is not the ledger that was agreed on" in failure.remedy
    assert not folder.privacy_record.exists()


@pytest.mark.parametrize("case", ["too much added", "one left out", "under another key", "one bit"])
def test_an_aggregate_that_decodes_to_nothing_is_voted_down_and_never_kept(federation: Federation, case: str) -> None:
    """The server records a sum of its own making: numbers that no hospitals' fields can add up to, or another key."""
    ballots: dict[int, Ballot] = {}

    def keep(node: int, reply: Message) -> Message:
        if "vote" in reply.content:
            ballots[node] = ballot_in(reply, 1)
        return reply

    federation.grid.tamper = keep
    with mock.patch("server.aggregate", lambda updates, store: forged_sum(federation, case, updates, store)):
        metrics = federation.lead_round()
    assert metrics["phase"] == "rejected"
    assert metrics["rejects"] == len(ballots) == 3
    for ballot in ballots.values():
        assert not ballot.signed.vote.accept
        # Neither the digest nor the counts say anything about any model.
        assert ballot.signed.vote.candidate_digest == client.NO_CANDIDATE
        assert ballot.histogram
        assert ballot.histogram.n == 0
    folder = federation.folder.hospital(HospitalId("hospital-1"))
    assert folder.load_candidate() is None
    assert folder.load_model().weights.tobytes() == federation.initial.tobytes()
    kept = json.loads((folder.path / "reports" / "round-0001.json").read_text())
    assert set(kept) == {"round", "salt", "decode_failure"}, "no detector looked at anything"
    assert kept["decode_failure"]


def test_a_vote_of_nobody_is_set_aside(federation: Federation) -> None:
    def tamper(node: int, reply: Message) -> Message:
        if node == 2 and "vote" in reply.content:
            change_members(reply, "vote", hospital="0x" + "12" * 20)
        return reply

    federation.grid.tamper = tamper
    metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert [rejection["reason"] for rejection in metrics["rejections"]] == ["NotOnRoster"]  # type: ignore[attr-defined]


def test_somebody_else_may_count_the_votes_first(federation: Federation) -> None:
    meddler = federation.parties.hospitals[HospitalId("hospital-1")]
    ledger = Ledger.attach(federation.node.url, federation.ledger.contract, meddler)
    votes = 0

    def tamper(_node: int, reply: Message) -> Message:
        nonlocal votes
        if "vote" in reply.content:
            votes += 1
            if votes == 3:
                # Two of three have accepted: the outcome stands, and the third vote comes too late.
                for entry in collected:
                    ledger.cast_vote_for(entry)
                ledger.finalize_round(1)
            else:
                collected.append(ballot_in(reply, 1).signed)
        return reply

    collected: list[SignedVote] = []
    federation.grid.tamper = tamper
    metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert federation.ledger.round(1).phase is RoundPhase.ACCEPTED
    ledger.close()


def test_one_hospitals_counts_weigh_no_more_than_it_is_enrolled_for(federation: Federation) -> None:
    def far_too_many(*_arguments: object) -> ScoreHistogram:
        counts = np.zeros((1, BINS), np.int64)
        counts[0, -1] = 2**39
        return ScoreHistogram(np.zeros_like(counts), counts, 0.0, 2**39)

    with cheating(federation.grid, {2: {"histogram": far_too_many}}):
        metrics = federation.lead_round()
    weight = len(federation.data.partitions[1].train)
    others = sum(len(federation.data.partitions[index].val) for index in (0, 2))
    assert metrics["val_n"] == weight + others


def test_too_few_votes_end_the_run(federation: Federation) -> None:
    def tamper(node: int, reply: Message) -> Message:
        if "vote" in reply.content and node > 1:
            reply.content = RecordDict()
        return reply

    federation.grid.tamper = tamper
    with pytest.raises(QuorumError, match="not decided"):
        federation.lead_round()
    assert federation.folder.server.rounds()[-1]["phase"] == "aborted"


def test_counts_that_a_hospital_did_not_sign_are_set_aside_with_its_vote(federation: Federation) -> None:
    """The vote names the counts: whoever changes them on the way is noticed, and adds nothing to the figures."""

    def tamper(node: int, reply: Message) -> Message:
        if node == 2 and "counts" in reply.content:
            values = reply.content.config_records["counts"]
            values["negatives"], values["positives"] = values["positives"], values["negatives"]
        return reply

    federation.grid.tamper = tamper
    metrics = federation.lead_round()
    (rejection,) = metrics["rejections"]  # type: ignore[misc]
    assert (rejection["reason"], "that the vote names" in rejection["evidence"]) == ("MalformedReply", True)
    assert metrics["accepts"] == 2
    assert metrics["val_n"] == sum(len(federation.data.partitions[index].val) for index in (0, 2))
