"""A hospital that is sent the same message twice, before it has answered the first, does its part once."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

from expected_replies import ballot_in, submission_in
from federation import PRIVATE_SCATTER, Federation
from flwr.app import Message
from shared_runs import SharedRuns

import client
from blockchain.ledger.events import VoteCast
from fedward import local_update
from fedward.ciphertexts.packing import round_plan
from fedward.files import sha256
from fedward.messages import wire
from fedward.privacy.accounting import PrivacyLedger
from fedward.privacy.mechanism import expected_event
from fedward.types import DetectorReport, HospitalId, SampledUpdate

MEETING_S = 2.0  # that one who trains waits for the other


def asked_to_train(federation: Federation, node: int) -> Message:
    """The request of an open round, as the node gets it, without an answer to it."""
    federation.grid.absent = frozenset({node})
    federation.grid.push_messages([Message(wire.round_records(1, {}), dst_node_id=node, message_type="train")])
    return federation.grid.requests[-1]


def test_two_requests_at_once_are_answered_with_the_same_bytes_and_charged_once(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    with shared_runs.federation(tmp_path / "run", *PRIVATE_SCATTER) as federation:
        federation.server().ledger.open_round()
        request, context = asked_to_train(federation, 1), federation.context(1)
        really, both = local_update.train_privately, threading.Barrier(2)

        def meeting(*arguments: Any, **named: Any) -> SampledUpdate:
            """Train when the other request is as far, which it must never be."""
            try:
                both.wait(MEETING_S)
            except threading.BrokenBarrierError:
                return really(*arguments, **named)
            raise RuntimeError("both are training")

        with (
            mock.patch("fedward.local_update.train_privately", side_effect=meeting) as trained,
            ThreadPoolExecutor(2) as pool,
        ):
            replies = list(pool.map(lambda _: client.take_part(request, context), "ab"))
        assert trained.call_count == 1
        chunks = round_plan(len(federation.initial), 3, federation.settings).chunks
        first, second = (submission_in(reply, chunks) for reply in replies)
        assert first.chunks == second.chunks
        assert first.signed == second.signed
        record = PrivacyLedger(federation.folder.hospital(HospitalId("hospital-1")).privacy_record)
        assert record.spent() == [expected_event(federation.settings.privacy)]


def test_a_vote_that_is_asked_for_again_is_the_same_and_its_hash_is_of_the_salted_report(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    with shared_runs.federation(tmp_path / "run", ("model.name", "scatter")) as federation:
        findings, members = len(federation.data.findings), federation.folder.server.load_record().roster
        folders = {member.address: federation.folder.hospital(member.hospital) for member in members}

        def ask_again(node: int, reply: Message) -> Message:
            if "vote" not in reply.content:
                return reply
            again = client.judge(federation.grid.requests[-1], federation.context(node))
            votes = [ballot_in(message, findings).signed for message in (reply, again)]
            assert votes[0] == votes[1]
            return again

        federation.grid.tamper = ask_again
        assert [federation.lead_round()["accepts"] for _ in "ab"] == [3, 3]
        salts = set()
        for event in federation.ledger.events(VoteCast):
            content = folders[event.hospital].load_report(event.round_index)
            assert content is not None
            assert sha256(content) == event.evidence_hash
            salts.add(json.loads(content)["salt"])
        assert len(salts) == 6
        assert {len(salt) for salt in salts} == {32}


def test_two_requests_for_a_vote_at_once_get_one_salt(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", ("model.name", "scatter")) as federation:
        findings, really, both = len(federation.data.findings), client.detect, threading.Barrier(2)

        def meeting(*arguments: Any) -> tuple[DetectorReport, ...]:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(MEETING_S)
                raise RuntimeError("both are looking at the candidate")
            return really(*arguments)

        def ask_twice(node: int, reply: Message) -> Message:
            if "vote" not in reply.content or node != 1:
                return reply
            hospital = federation.folder.hospital(HospitalId("hospital-1"))
            (hospital.path / "reports" / "round-0001.json").unlink()  # as if it had not voted yet
            (hospital.path / "sharing" / "round-0001" / "vote").unlink()
            request, context = federation.grid.requests[-1], federation.context(node)
            with mock.patch("client.detect", meeting), ThreadPoolExecutor(2) as pool:
                replies = list(pool.map(lambda _: client.judge(request, context), "ab"))
            votes = [ballot_in(message, findings).signed for message in (reply, *replies)]
            assert votes[0] != votes[1] == votes[2]
            return replies[0]

        federation.grid.tamper = ask_twice
        assert federation.lead_round()["accepts"] == 3
