"""A required witness: honest rounds pass with its attestation, a server that adds something else gets none."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from expected_replies import failure_in
from federation import Federation, keyless_ciphertexts, with_added
from flwr.app import Message
from shared_runs import SharedRuns

import client
import server
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundPhase
from blockchain.witness import attest_round, follow
from fedward.ciphertexts.aggregation import aggregate
from fedward.ciphertexts.packing import round_plan
from fedward.errors import EvidenceError, FedwardError, QuorumError, VerificationError
from fedward.files import merkle_root, sha256
from fedward.messages import wire
from fedward.privacy.mechanism import expected_event
from fedward.types import EncryptedAggregate, HospitalId, PrivateUpdate, VerifiedUpdate

REQUIRED = ("ledger.witness-required", True)


@pytest.fixture
def federation(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run", REQUIRED) as made:
        yield made


@contextmanager
def witness_ledger(federation: Federation) -> Iterator[Ledger]:
    """The ledger, with the witness's account."""
    assert federation.parties.witness
    with closing(Ledger.attach(federation.node.url, federation.ledger.contract, federation.parties.witness)) as ledger:
        yield ledger


@contextmanager
def witnessing(federation: Federation) -> Iterator[list[str]]:
    """A witness at work; what it tells."""
    told: list[str] = []
    stop = threading.Event()
    with witness_ledger(federation) as ledger:
        thread = threading.Thread(
            target=follow, args=(ledger, federation.folder.server.ciphertexts, stop, 0.01, told.append)
        )
        thread.start()
        try:
            yield told
        finally:
            stop.set()
            thread.join()


@contextmanager
def impatient(federation: Federation) -> Iterator[None]:
    """The server's clock is the node's, and a minute passes whenever it sleeps."""
    clock = federation.clock
    hands = SimpleNamespace(time=clock, monotonic=time.monotonic, sleep=lambda _seconds: clock.move_to(clock() + 60))
    with mock.patch("server.time", hands):
        yield


def adds_of_its_own(federation: Federation) -> "mock._patch[object]":
    """A server that adds something of its own to each aggregate, for which it needs no key: nobody can see it."""

    def add_more(updates: list[VerifiedUpdate], store: Path) -> EncryptedAggregate:
        honest = aggregate(updates, store)
        lead = federation.server()
        plan = round_plan(lead.parameters, 3, federation.settings)
        nothing = PrivateUpdate(np.zeros(lead.parameters, np.float32), expected_event(federation.settings.privacy))
        sums = with_added((path.read_bytes() for path in honest.chunk_files), keyless_ciphertexts(nothing, plan))
        files = tuple(federation.folder.server.ciphertexts.store(chunk) for chunk in sums)
        return EncryptedAggregate(files, merkle_root([sha256(chunk) for chunk in sums]), honest.included)

    return mock.patch("server.aggregate", add_more)


def to_the_vote(federation: Federation) -> None:
    """Lead a round until it is voted on, with no vote yet."""
    lead = federation.server()
    opening = lead.ledger.open_round()
    log = server.RoundLog(lead.folder, opening.round_index)
    updates = list(server.collect_updates(lead, opening, log).updates.values())
    total = aggregate(updates, lead.folder.ciphertexts.path)
    files = {one.hospital: one.chunk_files for one in updates}
    lead.folder.ciphertexts.save_round(opening.round_index, total.chunk_files, files)
    server.close_submissions(lead, opening, total, log)


def test_an_honest_round_is_accepted_with_the_attestation(federation: Federation) -> None:
    with witnessing(federation) as told:
        assert [federation.lead_round()["phase"] for _ in range(2)] == ["accepted", "accepted"]
    assert told == []
    assert federation.parties.witness
    for index in (1, 2):
        assert federation.ledger.attestations(index) == (federation.parties.witness.address,)


def test_a_server_that_adds_a_ciphertext_of_its_own_is_stopped_before_the_round_is_accepted(
    federation: Federation,
) -> None:
    before = federation.ledger.base_id()
    missing = pytest.raises(QuorumError, match="attestation of a witness is missing")
    with witnessing(federation) as told, adds_of_its_own(federation), impatient(federation), missing:
        federation.lead_round()
    record = federation.ledger.round(1)
    assert record.phase is RoundPhase.ABORTED
    assert federation.ledger.abort_reason(1) == "NotWitnessed"
    assert record.accepts == 3  # no hospital could see it: only the sum tells
    assert federation.ledger.attestations(1) == ()
    assert federation.ledger.base_id() == before
    assert len(told) == 1
    assert "the server added something else" in told[0]
    assert federation.folder.server.rounds()[-1]["phase"] == "aborted"


def test_without_its_witness_a_round_ends_and_says_why(federation: Federation) -> None:
    with impatient(federation), pytest.raises(QuorumError, match="attestation of a witness is missing"):
        federation.lead_round()
    assert federation.ledger.abort_reason(1) == "NotWitnessed"


@pytest.mark.parametrize("case", ["changed", "missing", "swapped", "unlisted", "a path", "longer"])
def test_a_damaged_store_gets_no_attestation(federation: Federation, case: str) -> None:
    to_the_vote(federation)
    folder = federation.folder
    updates = folder.server.ciphertexts.round_files(1).updates
    hospitals = list(updates)
    chunk = folder.server.ciphertexts.path / updates[hospitals[0]][0]
    files = {address: [folder.server.ciphertexts.path / name for name in names] for address, names in updates.items()}
    expected: type[FedwardError] = VerificationError
    if case == "changed":
        content = bytearray(chunk.read_bytes())
        content[-1] ^= 1
        chunk.write_bytes(content)
    elif case == "longer":
        chunk.write_bytes(chunk.read_bytes() + b"\0")
    elif case == "missing":
        chunk.unlink()
        expected = EvidenceError
    else:
        if case == "swapped":
            files[hospitals[0]], files[hospitals[1]] = files[hospitals[1]], files[hospitals[0]]
        elif case == "unlisted":
            del files[hospitals[0]]
            expected = EvidenceError
        else:
            files[hospitals[0]][0] = folder.server.ciphertexts.path / ".."
            expected = EvidenceError
        folder.server.ciphertexts.save_round(1, [], files)
    with witness_ledger(federation) as ledger, pytest.raises(expected):
        attest_round(ledger, folder.server.ciphertexts, 1)
    assert federation.ledger.attestations(1) == ()


def test_a_witness_that_comes_back_finishes_what_it_began(federation: Federation) -> None:
    """Ciphertexts that arrive late are waited for; a round that was attested to is left alone."""
    to_the_vote(federation)
    chunk = (
        federation.folder.server.ciphertexts.path
        / next(iter(federation.folder.server.ciphertexts.round_files(1).updates.values()))[0]
    )
    aside = chunk.rename(chunk.with_suffix(".aside"))
    told: list[str] = []
    with witness_ledger(federation) as ledger:
        visits = iter(("missing", "missing", "there", "attested", "again"))

        class Visits(threading.Event):
            """Looks as often as the story goes, without a pause."""

            def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002  threading's signature
                visit = next(visits, None)
                if visit == "there":
                    aside.rename(chunk)
                return visit is None

        follow(ledger, federation.folder.server.ciphertexts, Visits(), 0.01, told.append)
        assert len(told) == 1
        assert "could not be read" in told[0]
        assert len(federation.ledger.attestations(1)) == 1
        visits = iter(("started anew",))
        follow(ledger, federation.folder.server.ciphertexts, Visits(), 0.01, told.append)
    assert len(told) == 1
    assert len(federation.ledger.attestations(1)) == 1


def test_hospitals_refuse_a_ledger_with_other_witnesses_than_they_joined_under(federation: Federation) -> None:
    federation.ledger.admit_witness(federation.parties.hospitals[HospitalId("hospital-2")].address)
    federation.server().ledger.open_round()
    request = Message(wire.round_records(1, {}), dst_node_id=1, message_type="train")
    federation.grid.push_messages([request])
    context = federation.context(1)
    failure = failure_in(client.take_part(federation.grid.requests[-1], context))
    assert failure.exit_code == VerificationError.exit_code
    assert "witnesses" in failure.what
    assert federation.ledger.submission_count() == 0


def test_the_witness_has_a_key_of_its_own_and_is_pinned(federation: Federation) -> None:
    keys = list(federation.folder.witness.path.iterdir())
    assert {path.name for path in keys} == {"account.key", "x25519.key"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys)
    assert federation.parties.witness
    pinned = (federation.parties.witness.address,)
    assert federation.ledger.witnesses() == pinned == federation.folder.server.load_record().witnesses
    for hospital in federation.parties.hospitals:
        assert federation.folder.hospital(hospital).membership().witnesses == pinned
    assert dataclasses.asdict(federation.folder.server.load_record())["witnesses"] == pinned
