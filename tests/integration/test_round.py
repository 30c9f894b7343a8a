"""A round as server, contract and hospitals live it, and what each kind of bad update comes to."""

from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom
from unittest import mock

import numpy as np
import pytest
from expected_replies import submission_in
from federation import Federation, Tamper
from flwr.app import ConfigRecord, Message
from shared_runs import SharedRuns
from signed_structs import tamper as change_members

import client
from blockchain.catch_up import catch_up
from blockchain.consortium.held_keys import HeldKeys
from blockchain.identity import Identity
from blockchain.ledger.events import VoteCast
from blockchain.ledger.records import RoundPhase
from blockchain.signing.signatures import sign_commitment
from fedward.ciphertexts.aggregation import aggregate_plain, apply_update
from fedward.ciphertexts.packing import dequantize, quantize, round_plan
from fedward.errors import LedgerError, QuorumError, VerificationError
from fedward.files import sha256
from fedward.learning.digest import weights_digest
from fedward.learning.model import shared_classifier
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.messages import wire
from fedward.privacy.mechanism import privatize
from fedward.seeding import public_rng
from fedward.settings import replace
from fedward.types import GlobalModel, HospitalId, Vector
from fedward.voting.verdict import kept_salt

CHUNKS = 12  # ciphertexts of 97,521 parameters, 8,192 in each


@pytest.fixture
def federation(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run") as made:
        yield made


def final_weights(federation: Federation, hospital: str) -> Vector:
    """A hospital's model after it has taken over what was accepted."""
    folder = federation.folder.hospital(HospitalId(hospital))
    base_id = federation.ledger.base_id()
    return catch_up(folder, federation.ledger, HeldKeys(folder), federation.settings, base_id, {}).weights


def plain_federated_averaging(federation: Federation, rounds: int) -> tuple[Vector, list[np.ndarray]]:
    """The twin: the same training, privacy and quantization, with integers added in the clear."""
    settings, weights, sums = federation.settings, federation.initial, []
    for index in range(1, rounds + 1):
        opening = federation.ledger.opening(index)
        plan = round_plan(len(weights), len(opening.roster), settings)
        quantized = []
        for partition in federation.data.partitions:
            spec = ModelSpec(settings.model.name, settings.data.image_size, len(partition.findings))
            model = GlobalModel(weights, b"")
            update = train(partition, model, shared_classifier(spec), settings.training, index)
            private = privatize(update, settings.privacy)
            rng = public_rng("round", settings.training.seed, partition.hospital, index)
            weight = len(partition.train)
            quantized.append(quantize(private.delta, weight, opening.enrolled_total, plan, rng).values)
        sums.append(aggregate_plain(quantized))
        weights = apply_update(weights, dequantize(sums[-1], plan, opening.enrolled_total, opening.enrolled_total))
    return weights, sums


def test_encrypted_rounds_equal_the_plaintext_twin_bit_for_bit(federation: Federation) -> None:
    metrics = [federation.lead_round() for _ in range(2)]
    assert [entry["phase"] for entry in metrics] == ["accepted", "accepted"]
    assert federation.ledger.submission_count() == federation.ledger.vote_count() == 6
    expected, sums = plain_federated_averaging(federation, 2)
    for hospital in ("hospital-1", "hospital-2", "hospital-3"):
        assert final_weights(federation, hospital).tobytes() == expected.tobytes()
    for index, plain in enumerate(sums, start=1):
        for node in (1, 2, 3):
            assert np.array_equal(federation.opened(index, node), plain)


def flip_one_bit(node: int, reply: Message) -> Message:
    """Hospital 2's first ciphertext arrives with one bit changed."""
    if node == 2 and "chunks" in reply.content:
        first, *others = wire.read_chunks(reply.content, "chunks")
        data = bytearray(first)
        data[len(data) // 2] ^= 1
        reply.content["chunks"] = wire.chunks_to_record([bytes(data), *others])
    return reply


def drop_a_chunk(node: int, reply: Message) -> Message:
    """Hospital 2's last ciphertext does not arrive."""
    if node == 2 and "chunks" in reply.content:
        *others, _ = wire.read_chunks(reply.content, "chunks")
        reply.content["chunks"] = wire.chunks_to_record(others)
    return reply


def keep_in(kept: list[Message]) -> Tamper:
    """Change nothing, but remember what was sent."""

    def tamper(_node: int, reply: Message) -> Message:
        kept.append(reply)
        return reply

    return tamper


def signed_by_a_stranger(stranger: Identity) -> Tamper:
    """Hospital 2's commitment arrives with another party's signature."""

    def tamper(node: int, reply: Message) -> Message:
        if node == 2 and "commitment" in reply.content:
            submission = submission_in(reply, CHUNKS, hospitals=len(wire.read_chunks(reply.content, "shares")))
            forged = sign_commitment(submission.signed.commitment, stranger)
            change_members(reply, "commitment", signature=forged.signature)
        return reply

    return tamper


def sent_twice(first: dict[int, Message]) -> Tamper:
    """Hospital 2's place is taken by a copy of hospital 1's submission."""

    def tamper(node: int, reply: Message) -> Message:
        if "commitment" in reply.content:
            first[node] = reply
            if node == 2:
                reply.content["commitment"] = first[1].content["commitment"]
                reply.content["chunks"] = first[1].content["chunks"]
                reply.content["shares"] = first[1].content["shares"]
        return reply

    return tamper


def meant_for_an_earlier_round(kept: list[Message]) -> Tamper:
    """Hospital 2 sends again, in the second round, what it sent in the first."""

    def tamper(node: int, reply: Message) -> Message:
        if node == 2 and "commitment" in reply.content:
            kept.append(reply)
            reply.content["commitment"] = kept[0].content["commitment"]
            reply.content["chunks"] = kept[0].content["chunks"]
            reply.content["shares"] = kept[0].content["shares"]
        return reply

    return tamper


@pytest.mark.parametrize("case", ["bit", "missing chunk", "stranger", "second submission", "closed round"])
def test_a_bad_update_is_rejected_and_the_round_goes_on_without_it(
    federation: Federation, case: str, tmp_path: Path
) -> None:
    stranger = Identity.create(tmp_path / "stranger")
    reasons: dict[str, tuple[Tamper, str]] = {
        "bit": (flip_one_bit, "ChunkMismatch"),
        "missing chunk": (drop_a_chunk, "MalformedReply"),
        "stranger": (signed_by_a_stranger(stranger), "WrongSigner"),
        "second submission": (sent_twice({}), "AlreadySubmitted"),
        "closed round": (meant_for_an_earlier_round([]), "WrongRound"),
    }
    tamper, reason = reasons[case]
    federation.grid.tamper = tamper
    if case == "closed round":
        assert federation.lead_round()["phase"] == "accepted"
    metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert metrics["submitted"] == 2
    assert [rejection["reason"] for rejection in metrics["rejections"]] == [reason]  # type: ignore[attr-defined]
    record = federation.ledger.round(federation.ledger.latest_round())
    assert record.phase is RoundPhase.ACCEPTED
    assert record.included == (0, 2)
    first, third = final_weights(federation, "hospital-1"), final_weights(federation, "hospital-3")
    assert first.tobytes() == third.tobytes()
    assert weights_digest(first) != weights_digest(federation.initial)


def test_why_an_update_was_set_aside_is_on_the_ledger_and_nobody_else_changes_it(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    """Hospital 4 sends, after hospital 2's bad update, something in its name that is refused for another reason."""
    forge, second = signed_by_a_stranger(Identity.create(tmp_path / "stranger")), list[Message]()

    def tamper(node: int, reply: Message) -> Message | None:
        if "commitment" not in reply.content or node not in (2, 4):
            return reply
        if node == 2:
            second.append(reply)
            return flip_one_bit(node, reply)
        reply.content["commitment"] = ConfigRecord(dict(second[0].content["commitment"]))
        return forge(2, reply)

    with shared_runs.federation(tmp_path / "run", ("data.hospitals", 4)) as federation:
        federation.grid.tamper = tamper
        metrics = federation.lead_round()
        reasons = [rejection["reason"] for rejection in metrics["rejections"]]  # type: ignore[attr-defined]
        assert reasons == ["ChunkMismatch", "WrongSigner"]
        assert federation.ledger.exclusions(1) == {1: "ChunkMismatch"}
        assert federation.ledger.round(1).included == (0, 2)


def test_the_contract_takes_nothing_for_a_closed_round(federation: Federation) -> None:
    kept: list[Message] = []
    federation.grid.tamper = keep_in(kept)
    federation.lead_round()
    submission = submission_in(kept[0], CHUNKS)
    with pytest.raises(LedgerError, match="RoundNotOpen"):
        federation.server().ledger.submit_for(submission.signed)


def test_losing_the_quorum_stops_the_run_and_leaves_the_model(federation: Federation) -> None:
    federation.grid.absent = frozenset({2, 3})
    with pytest.raises(QuorumError) as stopped:
        federation.lead_round()
    assert stopped.value.exit_code == 9
    assert federation.folder.server.rounds()[-1]["phase"] == "aborted"
    assert final_weights(federation, "hospital-1").tobytes() == federation.initial.tobytes()


def test_a_hospital_that_was_away_catches_up(federation: Federation) -> None:
    federation.grid.absent = frozenset({3})
    federation.lead_round()
    federation.lead_round()
    federation.grid.absent = frozenset()
    metrics = federation.lead_round()
    assert metrics["submitted"] == 3
    assert final_weights(federation, "hospital-3").tobytes() == final_weights(federation, "hospital-1").tobytes()


def test_a_retry_resends_the_same_bytes_and_spends_nothing_more(federation: Federation) -> None:
    federation.server().ledger.open_round()
    request = Message(wire.round_records(1, {}), dst_node_id=1, message_type="train")
    federation.grid.push_messages([request])
    context = federation.context(1)
    replies = [client.take_part(federation.grid.requests[0], context) for _ in range(2)]
    sent = [submission_in(reply, CHUNKS) for reply in replies]
    assert sent[0].chunks == sent[1].chunks
    assert sent[0].sealed_shares == sent[1].sealed_shares
    assert sent[0].signed == sent[1].signed
    record = federation.folder.hospital(HospitalId("hospital-1")).privacy_record
    assert len(record.read_text().splitlines()) == 1


def test_the_salt_of_the_evidence_is_drawn_from_the_system_anew_for_every_vote(federation: Federation) -> None:
    """Reports on few images could be guessed from their hash; two hospitals' equal reports would show as equal."""
    drawn: list[bytes] = []

    def keep(size: int) -> bytes:
        drawn.append(SystemRandom().randbytes(size))
        return drawn[-1]

    with mock.patch("os.urandom", keep):
        for _ in range(2):
            federation.lead_round()
    run, recorded = federation.folder, [event.evidence_hash for event in federation.ledger.events(VoteCast)]
    kept = [
        run.hospital(m.hospital).load_report(index) or b"" for index in (1, 2) for m in run.server.load_record().roster
    ]
    assert {sha256(content) for content in kept} == set(recorded)
    salts = [kept_salt(content) for content in kept]
    assert len(set(salts)) == len(salts) == 6
    assert set(salts) <= set(drawn)


def test_a_rejected_candidate_leaves_every_model_as_it_was(tmp_path: Path, shared_runs: SharedRuns) -> None:
    # A learning rate that ruins the model: every hospital sees its validation loss rise.
    ruinous = (
        ("detectors.validation-loss.tolerance", 0.0),
        ("detectors.validation-loss.z-score", 0.0),
        ("training.learning-rate", 5.0),
    )
    with shared_runs.federation(tmp_path / "run", *ruinous) as federation:
        hospital = federation.folder.hospital(HospitalId("hospital-1"))
        before = hospital.load_model().weights
        metrics = federation.lead_round()
        assert metrics["phase"] == "rejected"
        assert metrics["rejects"] >= 2
        assert final_weights(federation, "hospital-1").tobytes() == before.tobytes()
        assert list((hospital.path / "reports").iterdir())


def test_hospitals_refuse_settings_that_they_did_not_join_under(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", ("privacy.mode", "update")) as federation:
        # The server's operator turns the noise off.
        federation.grid.settings = replace(federation.settings, "privacy.mode", "none")
        with pytest.raises(VerificationError, match="other settings"):
            federation.lead_round()
        assert federation.ledger.submission_count() == 0
